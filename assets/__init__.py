"""What exists: the tables, in the order the data flows.

landing -> ingest (raw) -> rules -> dbt (staging, facts, costing, marts) -> analytics -> dbt (overview) -> quality gate
-> publish. `pipelines` says when and with what it runs. Import the modules directly: this file stays free of imports so
that loading one asset module never half-loads another.
"""
