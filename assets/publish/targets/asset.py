"""One asset per release target of the company: brings the target to the release that is current in the data folder."""

import dagster as dg

from assets.company import Company
from assets.errors import ConfigurationError
from assets.publish.release import require_current
from assets.publish.targets.delivery import ReleaseDamaged, deliver
from pipelines.resources import Workspace, owners, target_secrets


def target_assets(company: Company) -> list[dg.AssetsDefinition]:
    """`release/<target>` for each target; one that fails does not keep the others from their release."""
    return [_target_asset(name, target.kind) for name, target in company.releases.targets.items()]


def _target_asset(name: str, kind: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["release", name],
        deps=[dg.AssetKey(["release", "current"])],
        group_name="release",
        owners=owners()["engineering"],
        kinds={kind},
        # The only step that waits for other machines: a short absence of theirs is no failure of the run.
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
        description="The current release at a place of its own, swapped in whole; doing it again changes nothing.",
    )
    def delivered(workspace: Workspace) -> dg.MaterializeResult:
        target = workspace.company().releases.targets[name]
        try:
            done = deliver(name, target, require_current(workspace.releases), target_secrets(name))
        except (ConfigurationError, ReleaseDamaged) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        return dg.MaterializeResult(
            metadata={"release_id": done.release_id, "place": done.place, "release_before": done.was or "none"}
        )

    return delivered
