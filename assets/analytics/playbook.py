"""The playbook: which advice follows from which figures, as a company declares it in playbook.yml.

    version: "1"
    roles: [account_manager, credit_control]
    rules:
      - rule: PB-2
        action: repair
        when:
          - {measure: quadrant, is: repair}
          - {measure: profit_at_stake_12m, at_least: 500}
        title: Repair the relationship
        title_zh: 修复客户关系
        reason: "Profit of 12 months {profit_12m}, relationship {relationship_strength} of 100."
        reason_zh: "近12个月利润{profit_12m}，关系强度{relationship_strength}/100。"
        effect: {measure: profit_at_stake_12m, times: 0.3}
        owner: account_manager
        due_in_days: 14

Belongs here: the language of the file (measures, comparisons, templates) and what is refused of it. Not here: where measures come
from and who is advised what (`actions`). Nothing of the file is run as code: a condition compares one measure with given
values, a template puts measures into a sentence.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from assets.analytics import break_even, credit, lifecycle, profitability_matrix, rfm
from assets.company import Name
from assets.errors import ConfigurationError
from assets.yaml_files import read_yaml, validated

PLAYBOOK_FILE = "playbook.yml"
"""Of a company's folder; the one beside this module where a company has none."""

ACTIONS = (
    *("protect", "repair", "reprice", "minimum_order", "cheaper_service"),
    *("prepay", "win_back", "nurture", "grow"),
)

ACCOUNT_MANAGER = "account_manager"
"""The role that stands for the customer's own owner in the CRM; any other role is a desk of the company."""

UNKNOWN = {"en": "unknown", "zh": "未知"}

Kind = Literal["money", "share", "percent", "number", "count", "flag", "choice", "text"]
"""money: base currency; share: 0 to 1, shown in percent; percent: shown as it is; number: one decimal; count: whole."""

NUMERIC = ("money", "share", "percent", "number", "count")
FLAGS = {"yes": ("yes", "是"), "no": ("no", "否")}


@dataclass(frozen=True)
class Measure:
    """What a playbook may speak of: its kind, its words in English and in Chinese, and of a choice its values with theirs."""

    kind: Kind
    words: str
    words_zh: str
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def _choices(names: Sequence[str], chinese: Sequence[str]) -> dict[str, tuple[str, str]]:
    return {name: (name.replace("_", " "), zh) for name, zh in zip(names, chinese, strict=True)}


_QUADRANTS = _choices(
    profitability_matrix.QUADRANTS, ("保护", "修复", "调价", "限期改善", "利润高、关系未知", "利润低、关系未知")
)
_STAGES = _choices(lifecycle.STAGES, ("潜在", "新客户", "活跃", "有流失风险", "已流失", "已赢回"))
_LEVERS = _choices(
    break_even.LEVERS[:-1],
    ("提价", "降低折扣", "降低服务成本", "订单数不变增量", "订单量不变增量", "加大单次订量", "合并订单", "缩短账期"),
)

MEASURES: dict[str, Measure] = {
    "profit_12m": Measure("money", "operating profit of 12 months", "近12个月营业利润"),
    "net_revenue_12m": Measure("money", "net revenue of 12 months", "近12个月净收入"),
    "margin_12m": Measure("share", "operating margin of 12 months", "近12个月营业利润率"),
    "loss_12m": Measure("money", "operating loss of 12 months", "近12个月营业亏损"),
    "avoidable_profit_12m": Measure("money", "profit of 12 months at avoidable cost", "按可避免成本计的近12个月利润"),
    "avoidable_loss_12m": Measure("money", "avoidable loss of 12 months", "近12个月可避免亏损"),
    "profit_when_active": Measure(
        "money", "profit of the 12 months up to the last month of revenue", "最后有收入月份之前12个月的利润"
    ),
    "quadrant": Measure("choice", "quadrant of the profitability matrix", "盈利矩阵象限", _QUADRANTS),
    "profit_class": Measure("choice", "profit class", "利润等级", _choices(("high", "low"), ("高", "低"))),
    "relationship_class": Measure(
        "choice",
        "relationship class",
        "关系等级",
        _choices(profitability_matrix.RELATIONSHIPS, ("强", "弱", "未知")),
    ),
    "relationship_strength": Measure("number", "relationship strength of 100", "关系强度"),
    "relationship_coverage": Measure("share", "coverage of the relationship strength", "关系强度覆盖率"),
    "stage": Measure("choice", "lifecycle stage", "生命周期阶段", _STAGES),
    "previous_stage": Measure("choice", "lifecycle stage before", "上一生命周期阶段", _STAGES),
    "months_in_stage": Measure("count", "months in the stage", "处于该阶段的月数"),
    "probability_of_purchase": Measure("share", "probability of a purchase", "购买概率"),
    "own_reference": Measure("share", "probability right after the last purchase", "上次购买后的购买概率"),
    "ratio_to_own_reference": Measure("share", "probability against the own reference", "相对自身基准的比例"),
    "days_since_last_purchase": Measure("count", "days since the last purchase", "距上次购买天数"),
    "orders_12m": Measure("count", "orders of 12 months", "近12个月订单数"),
    "average_order_value": Measure("money", "net revenue per order of 12 months", "近12个月平均订单金额"),
    "rfm_tier": Measure(
        "choice", "RFM segment", "RFM分层", {tier.name: (tier.name, tier.name_zh) for tier in rfm.read_tiers().values()}
    ),
    "customer_tier": Measure(
        "choice", "customer tier", "客户层级", {tier: (tier, zh) for tier, zh in rfm.CUSTOMER_TIERS.items()}
    ),
    "value_tier": Measure("choice", "value tier", "价值等级", _choices(("high", "medium", "low"), ("高", "中", "低"))),
    "clv": Measure("money", "customer lifetime value", "客户终身价值"),
    "clv_per_year": Measure("money", "customer lifetime value per year of its horizon", "年均客户终身价值"),
    "churn_probability": Measure("share", "churn probability", "流失概率"),
    "expected_profit_lost": Measure("money", "expected profit lost in the churn horizon", "流失期内预期损失利润"),
    "profit_at_stake_12m": Measure(
        "money", "profit at stake: profit of 12 months x churn probability", "面临风险的利润（近12个月利润×流失概率）"
    ),
    "churn_reason": Measure("text", "first reason of the churn risk", "流失主因"),
    "credit_suggestion": Measure(
        "choice",
        "credit suggestion",
        "信用建议",
        _choices(credit.SUGGESTIONS, ("预付", "降低额度", "缩短账期", "提高额度", "无")),
    ),
    "credit_effect": Measure("money", "effect of the credit suggestion", "信用建议的效果"),
    "credit_explanation": Measure("text", "explanation of the credit suggestion", "信用建议说明"),
    "exposure": Measure("money", "amount owed", "应收余额"),
    "overdue": Measure("money", "amount overdue", "逾期金额"),
    "share_overdue_over_90": Measure("share", "share over 90 days overdue", "逾期90天以上占比"),
    "easiest_lever": Measure("choice", "lever of the smallest change", "变动最小的杠杆", _LEVERS),
    "price_feasible": Measure("flag", "a price rise ends the loss", "提价可扭亏", FLAGS),
    "price_change_percent": Measure("percent", "price rise that ends the loss", "扭亏所需提价"),
    "price_effect": Measure("money", "loss that a price rise ends", "提价可消除的亏损"),
    "service_feasible": Measure("flag", "cheaper service ends the loss", "降低服务成本可扭亏", FLAGS),
    "service_change": Measure("money", "cost to serve that would have to go", "需减少的服务成本"),
    "service_effect": Measure("money", "loss that cheaper service ends", "降低服务成本可消除的亏损"),
    "order_size_feasible": Measure("flag", "larger orders end the loss", "加大订量可扭亏", FLAGS),
    "minimum_order_value": Measure("money", "smallest order that pays for itself", "保本最低订单金额"),
    "order_size_effect": Measure("money", "loss that larger orders end", "加大订量可消除的亏损"),
    "weighted_pipeline": Measure("money", "open pipeline, weighted by probability", "加权在途商机"),
    "gap_to_peers": Measure("money", "revenue gap to the peer segment", "与同类客户的收入差距"),
    "potential_value": Measure("money", "potential", "潜力"),
    "potential_profit": Measure("money", "gap to peers x operating margin", "同类差距×营业利润率"),
    "pipeline_profit": Measure("money", "weighted pipeline x operating margin", "加权商机×营业利润率"),
    "segment": Measure("text", "segment", "细分"),
    "industry": Measure("text", "industry", "行业"),
    "country": Measure("text", "country", "国家"),
    "region": Measure("text", "region", "地区"),
    "is_in_crm": Measure("flag", "known to a CRM", "在CRM中", FLAGS),
}
"""All a playbook may name. Missing values are missing: no comparison with them holds."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _nearest(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else f"; there are {', '.join(known)}"


def _measure(value: Any) -> str:
    if value not in MEASURES:
        raise ValueError(f"'{value}' is not a measure{_nearest(str(value), tuple(MEASURES))}")
    return str(value)


MeasureName = Annotated[str, BeforeValidator(_measure)]


def _money_measure(value: Any) -> str:
    if MEASURES[_measure(value)].kind != "money":
        raise ValueError(f"'{value}' is no money; an effect is money of a year, such as profit_at_stake_12m")
    return str(value)


def _template(value: Any) -> str:
    text = str(value)
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"is not a sentence with measures in braces ({error})") from None
    for _, name, form, conversion in parsed:
        if name is None:
            continue
        _measure(name)
        if form or conversion:
            raise ValueError(f"write {{{name}}} without a format: figures are written by what the measure is")
    return text


Template = Annotated[str, BeforeValidator(_template), Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Condition(_Strict):
    """One comparison of one measure: at_least, at_most, above, below for figures; is, is_not, in for the others."""

    measure: MeasureName
    at_least: Number | None = None
    at_most: Number | None = None
    above: Number | None = None
    below: Number | None = None
    equals: str | None = Field(default=None, alias="is")
    differs: str | None = Field(default=None, alias="is_not")
    among: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = Field(default=None, alias="in")

    @model_validator(mode="after")
    def _one_comparison(self) -> Condition:
        figures = [name for name in ("at_least", "at_most", "above", "below") if getattr(self, name) is not None]
        words = [name for name in ("equals", "differs", "among") if getattr(self, name) is not None]
        if len(figures) + len(words) != 1:
            raise ValueError("give exactly one of at_least, at_most, above, below, is, is_not and in")
        measure = MEASURES[self.measure]
        if (measure.kind in NUMERIC) != bool(figures):
            fitting = "at_least, at_most, above or below" if measure.kind in NUMERIC else "is, is_not or in"
            raise ValueError(f"'{self.measure}' is compared by {fitting}")
        for value in self._values():
            if measure.values and value not in measure.values:
                raise ValueError(f"'{self.measure}' is never '{value}'{_nearest(value, tuple(measure.values))}")
        return self

    def _values(self) -> tuple[str, ...]:
        return tuple(value for value in (self.equals, self.differs, *(self.among or ())) if value is not None)

    def holds(self, measures: pd.DataFrame) -> NDArray[np.bool_]:
        """For which rows it is true; never where the measure is missing. `measures` has a column per name of MEASURES."""
        column = measures[self.measure]
        if MEASURES[self.measure].kind in NUMERIC:
            values = column.to_numpy(dtype="float64", na_value=np.nan)
            if self.at_least is not None:
                return np.asarray(values >= self.at_least)
            if self.at_most is not None:
                return np.asarray(values <= self.at_most)
            return np.asarray(values > self.above if self.above is not None else values < self.below)
        if self.differs is not None:
            return (column.notna() & (column != self.differs)).to_numpy(dtype=bool)
        return column.isin(self._values()).to_numpy(dtype=bool)


class Effect(_Strict):
    """What the advice is worth a year: `times` (the success rate one believes in) of a measure of money."""

    measure: Annotated[str, BeforeValidator(_money_measure)]
    times: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0

    def words(self, amount: str, language: str) -> str:
        """How the effect was reckoned, in words."""
        measure, share = MEASURES[self.measure], f"{self.times * 100:g} %"
        if language == "zh":
            return f"{amount}（{measure.words_zh}）" + ("" if self.times == 1 else f"的{share}")
        return ("" if self.times == 1 else f"{share} of ") + f"{amount} ({measure.words})"


class Rule(_Strict):
    """One advice and when it is given. All conditions must hold; `not_with` names actions of earlier rules that rule it out."""

    rule: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,19}$")]
    action: Literal[ACTIONS]  # type: ignore[valid-type]
    when: tuple[Condition, ...] = Field(min_length=1)
    not_with: tuple[Literal[ACTIONS], ...] = ()  # type: ignore[valid-type]
    title: Template
    title_zh: Template
    reason: Template
    reason_zh: Template
    effect: Effect
    owner: Name = ACCOUNT_MANAGER
    due_in_days: int = Field(ge=0, le=730)
    max_per_owner: int | None = Field(default=None, ge=1)


class Profit(_Strict):
    """Where the profitability matrix cuts: profit per net revenue above which profit is high, and the band of hysteresis."""

    high_above_margin: Annotated[float, Field(ge=-1, le=1)] = profitability_matrix.HIGH_ABOVE_MARGIN
    band: Annotated[float, Field(ge=0, le=1)] = profitability_matrix.MARGIN_BAND


class Playbook(_Strict):
    """The rules of one company, in order: of one action, the first rule that holds gives the advice."""

    version: str = Field(min_length=1)
    roles: tuple[Name, ...] = (ACCOUNT_MANAGER,)
    profit: Profit = Profit()
    rules: tuple[Rule, ...] = Field(min_length=1)

    @field_validator("rules")
    @classmethod
    def _each_once(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.rule for rule in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the rule '{name}' is given {names.count(name)} times; each needs a name of its own")
        return value

    @model_validator(mode="after")
    def _known_owners(self) -> Playbook:
        for rule in self.rules:
            if rule.owner not in (*self.roles, ACCOUNT_MANAGER):
                raise ValueError(f"rule {rule.rule}: '{rule.owner}' is not a role{_nearest(rule.owner, self.roles)}")
        return self

    @property
    def cut(self) -> profitability_matrix.Cut:
        return profitability_matrix.Cut(self.profit.high_above_margin, self.profit.band)


def read_playbook(company_folder: Path | None = None) -> Playbook:
    """The playbook of a company, or the one that ships with Whalecurve where it has none.

    Raises ConfigurationError naming the file, the line, the key and the reason of everything that is wrong.
    """
    own = company_folder / PLAYBOOK_FILE if company_folder else None
    path = own if own and own.exists() else Path(__file__).with_name(PLAYBOOK_FILE)
    try:
        return validated(Playbook, read_yaml(path), path)
    except ConfigurationError as error:
        text = path.read_text(encoding="utf-8-sig") if path.exists() else ""
        raise ConfigurationError("\n".join(_with_line(line, text) for line in str(error).split("\n"))) from None


def _with_line(problem: str, text: str) -> str:
    """A problem of a key such as rules.3.when.0.measure, with the line of the file the key stands on."""
    named = re.search(r": key '([^']*)':", problem)
    if not named or named[1] == "(whole file)":
        return problem
    node = yaml.compose(text, Loader=yaml.BaseLoader)
    line = node.start_mark.line if node else 0
    for part in named[1].split("."):
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line
        else:
            break
    return f"{problem[: named.start()]}, line {line + 1}{problem[named.start() :]}"


def figures(measure: str, values: pd.Series, language: str, currency: str = "") -> list[str]:
    """The values of a measure as a sentence writes them, in English (`en`) or Chinese (`zh`)."""
    about = MEASURES[measure]
    unknown = UNKNOWN[language]
    if about.kind in NUMERIC:
        numbers = values.to_numpy(dtype="float64", na_value=np.nan)
        before = f"{currency} " if currency and about.kind == "money" else ""
        factor, ending = (100.0, " %") if about.kind == "share" else (1.0, " %" if about.kind == "percent" else "")
        decimals = {"money": 2, "count": 0}.get(about.kind, 1)
        # Adding zero turns a minus zero of rounding into zero.
        rounded = np.round(numbers * factor, decimals) + 0.0
        return [
            f"{before}{number:,.{decimals}f}{ending}" if known else unknown
            for number, known in zip(rounded.tolist(), np.isfinite(numbers).tolist(), strict=True)
        ]
    place = 0 if language == "en" else 1
    return [
        unknown if pd.isna(value) else about.values[value][place] if value in about.values else str(value)
        for value in values
    ]


def sentences(template: str, measures: pd.DataFrame, language: str, currency: str = "") -> list[str]:
    """The template once per row of `measures`, with its figures."""
    names = sorted({name for _, name, _, _ in string.Formatter().parse(template) if name})
    if not names:
        return [template.format()] * len(measures)
    written = [figures(name, measures[name], language, currency) for name in names]
    return [template.format(**dict(zip(names, row, strict=True))) for row in zip(*written, strict=True)]
