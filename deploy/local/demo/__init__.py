"""`make demo`: the whole product on this machine, from simulated customers to alerts and gauges, watched live."""
