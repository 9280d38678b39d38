"""Release targets: places besides the data folder where readers find the current release.

A target is brought to a release that is whole in the data folder already; nothing is computed on the way. One module per
kind of place, each with `deliver`, which either makes the release the one readers get there, in one step, or changes nothing
they see. `delivery` chooses among them. Not here: making a release, and asking the gate (`assets/publish/release.py`).
"""
