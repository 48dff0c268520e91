"""`python -m deploy.local up|down|status|fetch`: the local stack from a shell."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from deploy.local import alertmanager, kafka, programs, stack
from deploy.local.prometheus import Target
from streamer.errors import StackError


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="Kafka, Redis and Prometheus on 127.0.0.1")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "up": "start the servers and leave them running",
        "down": "stop the servers; their data stays",
        "status": "show what runs",
        "fetch": "install and download what is missing, start nothing; Alertmanager too, for the tests",
        "clean": "stop the servers and delete their data",
        "guard": "stop the servers when standard input ends (used by programs that start a stack of their own)",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--state", type=Path, default=stack.STATE, help="where the servers keep everything they write")
        if name == "up":
            ports = {"kafka": stack.KAFKA_PORT, "redis": stack.REDIS_PORT, "prometheus": stack.PROMETHEUS_PORT}
            for server, port in ports.items():
                command.add_argument(f"--{server}-port", type=int, default=port, help=f"default {port}; 0: a free one")
            command.add_argument("--scrape", action="append", default=[], metavar="JOB=HOST:PORT", help="what Prometheus scrapes")
            command.add_argument("--fresh", action="store_true", help="delete the data of earlier runs first")
        if name in ("up", "status"):
            command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def up(options: argparse.Namespace) -> None:
    """Start the servers and leave them running."""
    targets = [Target(*entry.split("=", 1)) for entry in options.scrape]
    ports = {f"{name}_port": getattr(options, f"{name}_port") for name in ("kafka", "redis", "prometheus")}
    servers = stack.Stack(options.state, targets=targets, fresh=options.fresh, **ports)
    servers.up()
    show(options)


def show(options: argparse.Namespace) -> None:
    """Print what runs."""
    found = stack.running(options.state)
    if options.json:
        print(json.dumps(found))
        return
    for name, entry in found.items():
        print(f"{name:<12} 127.0.0.1:{entry['port']:<6} pid {entry['pid']}")
    if not found:
        print("nothing runs")


def main(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    options = parse(arguments)
    try:
        match options.command:
            case "up":
                up(options)
            case "down":
                stack.end_all(options.state)
            case "status":
                show(options)
            case "fetch":
                stack.fetch(options.state)
                # No part of the stack; the tests want them.
                programs.ensure(alertmanager.PROGRAMS, lock=options.state / "install.lock")
                kafka.archive_classes(options.state)
            case "clean":
                stack.clean(options.state)
            case "guard":
                sys.stdin.buffer.read()
                stack.end_all(options.state)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
