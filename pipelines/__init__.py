"""When and with what the assets run: definitions, resources, partitions, jobs, schedules, the command.

`assets` says what exists. Import the modules directly: this file stays free of imports, because an import of
`definitions` here would half-load the asset modules and silently drop assets.
"""
