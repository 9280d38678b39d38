"""The playbook's language: what it may say, what is refused and where, and how figures are written."""

import numpy as np
import pandas as pd
import pytest
from command import PROJECT

from assets.analytics import playbook
from assets.analytics.playbook import Condition, Effect
from assets.errors import ConfigurationError

SHIPPED = PROJECT / "assets" / "analytics" / "playbook.yml"

SMALL = """version: "7"
roles: [account_manager, credit_control]
rules:
  - rule: R-1
    action: repair
    when:
      - {measure: quadrant, is: repair}
      - {measure: profit_at_stake_12m, at_least: 500}
    title: Repair
    title_zh: 修复
    reason: "Profit {profit_12m}."
    reason_zh: "利润{profit_12m}。"
    effect: {measure: profit_at_stake_12m, times: 0.3}
    owner: credit_control
    due_in_days: 14
    max_per_owner: 3
"""


def written(tmp_path, text):
    (tmp_path / "playbook.yml").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("folder", [None, PROJECT / "companies" / "demo"], ids=["shipped", "demo"])
def test_the_playbooks_of_the_repository_advise_every_action(folder):
    book = playbook.read_playbook(folder)
    assert {rule.action for rule in book.rules} == set(playbook.ACTIONS)


def test_a_company_without_a_playbook_gets_the_shipped_one(tmp_path):
    assert playbook.read_playbook(tmp_path) == playbook.read_playbook()


def test_a_playbook_is_read(tmp_path):
    book = playbook.read_playbook(written(tmp_path, SMALL))
    (rule,) = book.rules
    assert (book.version, rule.rule, rule.action, rule.owner) == ("7", "R-1", "repair", "credit_control")
    assert (rule.due_in_days, rule.max_per_owner, rule.effect.times) == (14, 3, 0.3)
    assert (rule.when[1].measure, rule.when[1].at_least) == ("profit_at_stake_12m", 500.0)
    assert book.cut.high_above_margin == 0


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("measure: quadrant,", "measure: quadrnt,", 7, "'quadrnt' is not a measure; did you mean 'quadrant'?"),
        ("measure: quadrant,", "measure: zzzzzzz,", 7, "'zzzzzzz' is not a measure; there are profit_12m, "),
        ("is: repair}", "is: repiar}", 7, "'quadrant' is never 'repiar'; did you mean 'repair'?"),
        ("is: repair}", "in: [repair, grow]}", 7, "'quadrant' is never 'grow'"),
        ("is: repair}", "above: 3}", 7, "'quadrant' is compared by is, is_not or in"),
        ("at_least: 500}", "is: 500}", 8, "'profit_at_stake_12m' is compared by at_least, at_most, above or below"),
        ("at_least: 500}", "at_least: 500, below: 900}", 8, "give exactly one of at_least"),
        ("at_least: 500}", "at_least: much}", 8, "unable to parse string as a number; it is 'much'"),
        ("at_least: 500}", "at_least: nan}", 8, "finite number; it is 'nan'"),
        ("at_least: 500}", "at_leest: 500}", 8, "is not a key known here"),
        ("Profit {profit_12m}", "Profit {profit_12}", 11, "did you mean 'profit_12m'?"),
        ("Profit {profit_12m}", "Profit {profit_12m:.2f}", 11, "without a format"),
        ("Profit {profit_12m}", "Profit {profit_12m!r}", 11, "without a format"),
        ("Profit {profit_12m}", "Profit {profit_12m.real}", 11, "is not a measure"),
        ("Profit {profit_12m}", "Profit {owner_ref}", 11, "is not a measure"),
        ("Profit {profit_12m}", "Profit {profit_12m", 11, "is not a sentence with measures in braces"),
        ("Profit {profit_12m}", "Profit {}", 11, "is not a measure"),
        ("{measure: profit_at_stake_12m, times", "{measure: churn_probability, times", 13, "is no money"),
        ("times: 0.3", "times: 30", 13, "less than or equal to 1"),
        ("times: 0.3", "times: 0", 13, "greater than 0"),
        ("owner: credit_control", "owner: credit_controll", None, "did you mean 'credit_control'?"),
        ("action: repair", "action: sue", 5, "'prepay'"),
        ("due_in_days: 14", "due_in_days: soon", 15, "valid integer"),
        ("max_per_owner: 3", "max_per_owner: 0", 16, "greater than or equal to 1"),
        ("rule: R-1", 'rule: "=1+1"', 4, "pattern"),
        ('version: "7"', "", None, "key 'version': is required and missing"),
        ("    title: Repair\n", "", 4, "key 'rules.0.title': is required and missing"),
        (
            "    due_in_days: 14",
            "    due_in_days: 14\n    due_in_days: 15",
            None,
            "line 16: the key 'due_in_days' is given twice",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(tmp_path, old, new, place, message):
    assert SMALL.count(old) == 1
    with pytest.raises(ConfigurationError) as caught:
        playbook.read_playbook(written(tmp_path, SMALL.replace(old, new)))
    said = str(caught.value)
    assert "playbook.yml" in said
    assert message in said
    if place is not None:
        assert f"playbook.yml, line {place}: key 'rules.0" in said


def test_two_rules_of_one_name_are_refused(tmp_path):
    twice = SMALL + SMALL[SMALL.index("  - rule") :]
    with pytest.raises(ConfigurationError, match="the rule 'R-1' is given 2 times"):
        playbook.read_playbook(written(tmp_path, twice))


def test_nothing_of_the_file_is_run(tmp_path):
    for text in ("{measure: '__import__(\"os\")', is: x}", "!!python/object/apply:os.getcwd []"):
        with pytest.raises(ConfigurationError):
            playbook.read_playbook(written(tmp_path, SMALL.replace("{measure: quadrant, is: repair}", text)))


def test_comparisons_and_what_is_missing():
    measures = pd.DataFrame(
        {
            "profit_12m": [1.0, 2.0, 3.0, np.nan],
            "quadrant": ["repair", "protect", None, None],
            "is_in_crm": ["yes", "no", None, None],
        }
    )

    def holds(**condition):
        return list(Condition(**condition).holds(measures))

    assert holds(measure="profit_12m", at_least=2) == [False, True, True, False]
    assert holds(measure="profit_12m", at_most=2) == [True, True, False, False]
    assert holds(measure="profit_12m", above=2) == [False, False, True, False]
    assert holds(measure="profit_12m", below=2) == [True, False, False, False]
    assert holds(measure="quadrant", **{"is": "repair"}) == [True, False, False, False]
    assert holds(measure="quadrant", is_not="repair") == [False, True, False, False]
    assert holds(measure="quadrant", **{"in": ["repair", "protect"]}) == [True, True, False, False]
    assert holds(measure="is_in_crm", **{"is": "yes"}) == [True, False, False, False]


def test_figures_are_written_by_what_they_are():
    def one(measure, value, language="en", currency=""):
        return playbook.figures(measure, pd.Series([value]), language, currency)[0]

    assert one("profit_12m", -1234.5, currency="CNY") == "CNY -1,234.50"
    assert one("profit_12m", -0.001) == "0.00"
    assert one("churn_probability", 0.4567) == "45.7 %"
    assert one("price_change_percent", 3.25) == "3.2 %"
    assert one("months_in_stage", 7.0) == "7"
    assert one("relationship_strength", 61.04) == "61.0"
    assert one("stage", "at_risk") == "at risk"
    assert one("stage", "at_risk", "zh") == "有流失风险"
    assert one("rfm_tier", "Champions", "zh") == "重要价值客户"
    assert one("price_feasible", "yes", "zh") == "是"
    assert one("segment", "Key Account") == "Key Account"
    assert (one("clv", np.nan), one("segment", None, "zh")) == ("unknown", "未知")


def test_sentences_and_the_words_of_an_effect():
    measures = pd.DataFrame({"profit_12m": [5.0, np.nan], "segment": ["{profit_12m}", "B"]})
    assert playbook.sentences("{segment}: {profit_12m} {{x}}", measures, "en", "EUR") == [
        "{profit_12m}: EUR 5.00 {x}",
        "B: unknown {x}",
    ]
    assert playbook.sentences("no figure", measures, "en") == ["no figure", "no figure"]
    effect = Effect(measure="credit_effect", times=0.25)
    assert effect.words("EUR 4.00", "en") == "25 % of EUR 4.00 (effect of the credit suggestion)"
    assert effect.words("EUR 4.00", "zh") == "EUR 4.00（信用建议的效果）的25 %"
    assert Effect(measure="credit_effect").words("EUR 4.00", "en") == "EUR 4.00 (effect of the credit suggestion)"


def test_every_measure_and_each_of_its_values_has_words_in_both_languages():
    for measure in playbook.MEASURES.values():
        assert measure.words
        assert measure.words_zh
        assert (measure.kind in ("choice", "flag")) == bool(measure.values)
        assert all(en and zh for en, zh in measure.values.values())
