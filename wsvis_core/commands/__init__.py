"""The subcommands of `wsvis`, one module each. Heavy imports wait until a command runs: `--help` is quick."""
