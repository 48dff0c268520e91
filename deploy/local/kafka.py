"""Apache Kafka as one KRaft node, from Maven artefacts."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local import ports, programs
from deploy.local.process import Server, require_disk
from streamer.errors import StackError

if TYPE_CHECKING:
    from deploy.local.certificates import Certificates

POM: Final = Path(__file__).with_name("kafka-pom.xml")
ARCHIVE: Final = "classes.jsa"
LOG_CONFIG: Final = Path(__file__).with_name("log4j2.properties")
# Any valid id does: the node talks to nobody. Fixed, so that a restart finds its own log again.
CLUSTER_ID: Final = "am91cm5leS1zdHJlYW1lcg"
MESSAGE_BYTES_MAX: Final = 8 << 20

PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners={protocol}://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners={protocol}://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocol}:{protocol}
inter.broker.listener.name={protocol}
log.dirs={directory}/data
# A misspelt topic is an error here, not a new topic with the wrong shape.
auto.create.topics.enable=false
num.partitions=4
# One node.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# The defaults (50 each) make a first start slow.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=1
# Progress of redrives is kept as long as dead letters are, 30 days; the default is 7.
offsets.retention.minutes=43200
# A killed broker may come back once its old registration has lapsed; the default of 9 s fits clusters.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Nobody waits for the metadata to move: no records of nothing, a sixth of what an idle node costs.
metadata.max.idle.interval.ms=0
# How long a dead owner's open transaction holds back read_committed readers, on top of its own timeout.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# Tests of takeover need short sessions; a group of one need not wait for others.
group.min.session.timeout.ms=1000
group.initial.rebalance.delay.ms=0
message.max.bytes={message_bytes_max}
replica.fetch.max.bytes={message_bytes_max}
"""

# Who is not granted something is refused. Only the node itself uses the controller's listener, where nobody has a name.
SECURED: Final = """\
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login}
ssl.keystore.type=PEM
ssl.keystore.location={keystore_file}
ssl.truststore.type=PEM
ssl.truststore.location={ca_file}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{administrator};User:ANONYMOUS
"""
CLIENT: Final = """\
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config={login}
ssl.truststore.type=PEM
ssl.truststore.location={ca_file}
"""

# The commands of a distribution, by the class each starts.
COMMANDS: Final = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-storage.sh": "kafka.tools.StorageTool",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
}


@dataclass(frozen=True)
class Secured:
    """TLS, SCRAM-SHA-512 and ACLs for a broker, and its administrator."""

    certificates: Certificates
    password: str
    administrator: str = "admin"

    @property
    def login(self) -> str:
        """The administrator for Kafka's own programs."""
        module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return f'{module} required username="{self.administrator}" password="{self.password}";'

    def client_options(self) -> dict[str, Any]:
        """The administrator for an aiokafka client."""
        return {
            "security_protocol": "SASL_SSL",
            "ssl_context": ssl.create_default_context(cafile=self.certificates.ca_file),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": self.administrator,
            "sasl_plain_password": self.password,
        }


def has_libraries(cache: Path) -> bool:
    """Whether the broker's jars are there, whole and of the POM's versions."""
    mark = cache / "kafka-lib" / POM.name
    return mark.exists() and mark.read_bytes() == POM.read_bytes()


def libraries(cache: Path) -> Path:
    """The folder with the broker's jars, downloaded with Maven on first use and again when the POM changes.

    Raises:
        StackError: Maven could not get them.
    """
    folder = cache / "kafka-lib"
    with programs.exclusive(cache / "kafka-lib.lock"):
        if has_libraries(cache):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        require_disk(cache)
        programs.ensure(["java", "mvn"], lock=cache / "install.lock")
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder.resolve()}", "-DincludeScope=runtime"]
        result = subprocess.run(
            ["mvn", "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if result.returncode != 0:
            reason = next((line for line in result.stdout.splitlines() if "ERROR" in line), "it said nothing")
            raise StackError(f"Maven could not download Apache Kafka: {reason}")
        shutil.copyfile(POM, folder / POM.name)  # last: marks the folder as whole
    return folder


def archive_classes(cache: Path) -> None:
    """Let the JVM keep what it makes of a broker's classes. Then one starts with 3.5 CPU-seconds in place of 5.6, its commands with half.

    Takes one start and end of a broker, about ten seconds: worth it where many are started. Raises StackError.
    """
    archive = libraries(cache) / ARCHIVE
    with programs.exclusive(cache / "kafka-archive.lock"):
        if not archive.exists():
            made = archive.with_suffix(".part").resolve()
            made.unlink(missing_ok=True)
            with tempfile.TemporaryDirectory() as directory:
                kafka = Kafka(Path(directory), cache=cache, archive_to=made)
                kafka.start()
                kafka.stop()
            if made.exists():  # not every JVM makes one
                made.rename(archive)


class Kafka(Server):
    """A broker and controller in one process. `bootstrap` is what clients connect to; plain and open to all unless `secured`."""

    name = "kafka"

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        cache: Path,
        heap_megabytes: int = 1024,
        secured: Secured | None = None,
        archive_to: Path | None = None,
    ) -> None:
        super().__init__(directory, port)
        self._archive_to = archive_to
        self._controller_port = ports.pick()
        self._cache = cache
        self._heap_megabytes = heap_megabytes
        self.secured = secured

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:port`."""
        return self.address

    @property
    def admin_options(self) -> dict[str, Any]:
        """Keyword arguments for an aiokafka client that may do everything."""
        return {"bootstrap_servers": self.bootstrap, **(self.secured.client_options() if self.secured else {})}

    def prepare(self) -> list[str]:
        """Write server.properties and format the log directory, once."""
        programs.ensure(["java"], lock=self._cache / "install.lock")
        libraries(self._cache)
        ports.require_free(self._controller_port, "the Kafka controller")
        properties = self.directory / "server.properties"
        properties.touch(mode=0o600)
        properties.write_text(self._properties())
        if not (self.directory / "data" / "meta.properties").exists():
            users = []
            if self.secured is not None:
                users = ["--add-scram", f"SCRAM-SHA-512=[name={self.secured.administrator},password={self.secured.password}]"]
            command = [*self._java, COMMANDS["kafka-storage.sh"], "format", "-t", CLUSTER_ID, "-c", str(properties), *users]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise StackError(f"Kafka could not format {self.directory}/data: {result.stderr.strip()[-300:]}")
        return [
            "java",
            *shlex.split(os.environ.get("KAFKA_JVM_PERFORMANCE_OPTS", "")),  # as Kafka's own scripts take it
            *([f"-XX:ArchiveClassesAtExit={self._archive_to}"] if self._archive_to else self._archive),
            f"-Xmx{self._heap_megabytes}m",
            f"-Dlog4j2.configurationFile={LOG_CONFIG}",
            "-cp",
            self._jars,
            "kafka.Kafka",
            str(properties),
        ]

    def _properties(self) -> str:
        protocol = "PLAINTEXT" if self.secured is None else "SASL_SSL"
        values = {"host": ports.HOST, "port": self.port, "controller_port": self._controller_port, "protocol": protocol}
        text = PROPERTIES.format(**values, directory=self.directory, message_bytes_max=MESSAGE_BYTES_MAX)
        if self.secured is not None:
            files = self.secured.certificates
            text += SECURED.format(
                login=self.secured.login, keystore_file=files.keystore_file, ca_file=files.ca_file, administrator=self.secured.administrator
            )
        return text

    def write_commands(self, directory: Path) -> dict[str, str]:
        """Put the commands of Kafka's distribution, such as `kafka-acls.sh`, into a directory.

        Returns variables for who calls them: PATH, and `admin` with the options by which the administrator connects.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for name, entry in COMMANDS.items():
            file = directory / name
            file.write_text(f'#!/bin/sh\nexec {shlex.join([*self._java, entry])} "$@"\n')
            file.chmod(0o755)
        admin = f"--bootstrap-server {self.bootstrap}"
        if self.secured is not None:
            file = directory / "admin.properties"
            file.touch(mode=0o600)
            file.write_text(CLIENT.format(login=self.secured.login, ca_file=self.secured.certificates.ca_file))
            admin += f" --command-config {file}"
        return {"PATH": f"{directory.resolve()}{os.pathsep}{os.environ['PATH']}", "admin": admin}

    @property
    def _jars(self) -> str:
        return f"{(self._cache / 'kafka-lib').resolve()}/*"

    @property
    def _java(self) -> list[str]:
        # C1 only: its commands live for a second.
        return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *self._archive, "-cp", self._jars]

    @property
    def _archive(self) -> list[str]:
        """The archive of classes for the JVM, if there is one. A JVM that cannot use it does without, and says nothing of that."""
        path = self._cache.resolve() / "kafka-lib" / ARCHIVE
        return [f"-XX:SharedArchiveFile={path}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"] if path.exists() else []

    def is_ready(self) -> bool:
        """Whether the broker takes connections and lists itself as alive in the cluster's metadata."""
        try:
            socket.create_connection((ports.HOST, self.port), timeout=1).close()
        except OSError:
            return False
        # In a thread of its own: the caller may have a running event loop.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, _has_broker(self.admin_options)).result()


async def _has_broker(options: dict[str, Any]) -> bool:
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # refusals are expected until the node is up
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=2000)
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
        logger.setLevel(level)
