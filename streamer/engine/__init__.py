"""The shell: Faust and Kafka live here and nowhere else."""
