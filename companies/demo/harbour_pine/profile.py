"""Who Harbour Pine is, in constants: calendar, customers, catalogue, ledger, and how much dirt. Invented figures all.

What follows from them is in the other modules; a number that shapes the company belongs here and nowhere else.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

START = datetime.date(2024, 7, 1)
FIRST_DELIVERY = datetime.date(2026, 5, 31)
END = datetime.date(2026, 6, 30)


def day_number(date: datetime.date) -> int:
    """Days since START."""
    return (date - START).days


def date_of(day: int) -> datetime.date:
    return START + datetime.timedelta(days=int(day))


FIRST_DAY = day_number(FIRST_DELIVERY)
LAST_DAY = day_number(END)
MONTHS = [datetime.date(2024 + (6 + m) // 12, (6 + m) % 12 + 1, 1) for m in range(24)]

SEASON = (0.90, 0.72, 1.02, 1.00, 1.04, 1.02, 0.94, 0.96, 1.10, 1.06, 1.20, 1.04)
"""Sales by calendar month, January first: a dip around the lunar new year, a peak before winter."""
WEEKDAY = (1.0, 1.05, 1.05, 1.0, 0.95, 0.18, 0.08)
"""Sales by day of the week, Monday first."""
YEARLY_GROWTH = 0.06
VAT_PERCENT = 13
FIRST_EXTRACT_YEAR_OF_ISO_DATES = 2025
"""The billing system wrote 2024/07/01 until its upgrade and 2025-01-01 since: both stand in one file."""


class Archetype(NamedTuple):
    """A kind of customer: what it buys and what it makes the company do."""

    name: str
    share: float
    segment: str
    orders_per_year: float
    spread: float  # shape of the gamma distribution of the order rate: low = very unlike each other
    lines_per_order: float
    units_per_line: float
    discount: float
    cases_per_order: float
    minutes_per_case: float
    visits_per_year: float
    calls_per_year: float
    days_late: float
    pays_in_runs: float  # share that pays all open invoices twice a month instead of one by one


ARCHETYPES = (
    Archetype("key, steady", 0.020, "Key Account", 60, 2.0, 8.0, 8.0, 0.16, 0.16, 25, 12, 28, 2, 0.95),
    Archetype("key, demanding", 0.010, "Key Account", 95, 2.0, 4.5, 5.0, 0.26, 0.85, 50, 42, 95, 22, 0.20),
    Archetype("middle, steady", 0.210, "Mid-Market", 14, 1.2, 5.0, 5.0, 0.09, 0.16, 22, 3.5, 12, 4, 0.60),
    Archetype("middle, service-hungry", 0.070, "Mid-Market", 14, 1.2, 4.0, 3.7, 0.14, 0.75, 42, 11, 28, 14, 0.30),
    Archetype("small, steady", 0.380, "Small Business", 6, 0.9, 3.5, 3.7, 0.05, 0.10, 16, 0.5, 4.5, 4, 0.30),
    Archetype("small, frequent", 0.160, "Small Business", 14, 1.0, 1.9, 2.2, 0.06, 0.22, 20, 1.2, 10, 10, 0.05),
    Archetype("occasional", 0.150, "Small Business", 2.5, 0.8, 3.2, 3.6, 0.05, 0.16, 18, 0.5, 4, 8, 0.10),
)
SHARE_NEW = 0.28
"""Share of customers won during the history; the others were customers before it began."""
MEAN_LIFETIME_DAYS = 1500
SHARE_INTERNATIONAL = 0.60
UNKNOWN_TO_CRM = 3
"""Customers who are invoiced and whom no CRM has."""
SALES_PEOPLE = 12
"""Users in each CRM; every customer has one of them as its owner."""
SALES_PEOPLE_ZH = ("李四", "王芳", "张敏", "刘洋", "陈静", "杨磊", "赵强", "黄娟", "周涛", "吴霞", "徐明", "孙丽")

COUNTRIES = (
    ("Singapore", "", "Singapore"), ("Malaysia", "Selangor", "Shah Alam"), ("Vietnam", "", "Haiphong"),
    ("Germany", "Hamburg", "Hamburg"), ("United Kingdom", "Kent", "Dover"), ("Netherlands", "", "Rotterdam"),
    ("Australia", "Victoria", "Geelong"), ("Japan", "Kanagawa", "Yokohama"), ("South Korea", "", "Busan"),
    ("United States", "Oregon", "Portland"), ("Canada", "British Columbia", "Nanaimo"), ("Thailand", "", "Rayong"),
)  # fmt: skip
CHINESE_PLACES = (
    ("上海市", "上海市"), ("江苏省", "苏州市"), ("江苏省", "南京市"), ("浙江省", "宁波市"), ("浙江省", "杭州市"),
    ("广东省", "深圳市"), ("广东省", "佛山市"), ("山东省", "青岛市"), ("福建省", "厦门市"), ("四川省", "成都市"),
    ("湖北省", "武汉市"), ("天津市", "天津市"), ("辽宁省", "大连市"), ("陕西省", "西安市"),
)  # fmt: skip
NAME_FIRST = (
    "Alder", "Amber", "Beacon", "Birch", "Blue", "Bright", "Cedar", "Clear", "Copper", "Coral", "Crown",
    "Delta", "East", "Elm", "Ember", "Fern", "Glen", "Granite", "Green", "Grey", "Hazel", "High",
    "Iron", "Ivory", "Jade", "Keel", "Lark", "Linden", "Long", "Maple", "Marsh", "Mill", "North", "Oak",
    "Ocean", "Olive", "Pearl", "Quarry", "Red", "Reed", "River", "Rowan", "Sable", "Silver", "Slate",
    "South", "Stone", "Tall", "West", "Willow",
)  # fmt: skip
NAME_SECOND = (
    "Anchor", "Bay", "Bridge", "Brook", "Cape", "Cove", "Creek", "Dale", "Field", "Ford", "Forge",
    "Gate", "Grove", "Harbour", "Haven", "Hill", "Holm", "Key", "Lake", "Landing", "Meadow", "Moor",
    "Pier", "Point", "Port", "Quay", "Ridge", "Rock", "Sands", "Shore", "Sound", "Spring", "Stream",
    "Tower", "Trail", "Vale", "View", "Wharf", "Wood", "Yard",
)  # fmt: skip
NAME_LAST = ("Trading", "Supplies", "Hardware", "Foods", "Interiors", "Marine", "Engineering", "Stores")
CHINESE_FIRST = (
    "华盛", "鼎丰", "云杉", "海松", "东篱", "瑞和", "明远", "启程", "恒通",
    "金桥", "星河", "青禾", "百川", "同德", "安泰", "万里", "宏图", "天成",
    "新港", "长风", "远大", "翔宇", "嘉禾", "博远", "立达", "泰和", "祥云",
    "广源", "盛世", "昌隆", "中信达", "康宁", "联发", "兴业", "永顺", "富民",
    "银河", "晨光", "卓越", "佳美",
)  # fmt: skip
CHINESE_TRADES = ("贸易", "五金", "建材", "食品", "船舶用品", "机电", "工程", "百货", "包装", "家居", "商贸", "实业")
INDUSTRIES = ("Retail", "Construction", "Food & Beverage", "Manufacturing", "Shipping", "Hospitality")
INDUSTRIES_ZH = ("零售", "建筑", "餐饮食品", "制造", "航运", "酒店")
ACQUIRED_THROUGH = ("Web", "Phone Inquiry", "Partner Referral", "Trade Show", "Word of mouth")
ACQUIRED_THROUGH_ZH = ("网站", "电话咨询", "合作伙伴", "展会", "转介绍")
TERMS_DAYS = (0, 14, 30, 30, 45)

FAMILIES = (  # name, Chinese name, typical price in yuan, cost as a share of the list price
    ("Fasteners", "紧固件", 38, 0.58), ("Hand tools", "手动工具", 95, 0.62), ("Power tools", "电动工具", 420, 0.70),
    ("Rope and rigging", "绳索索具", 160, 0.60), ("Paint and sealant", "油漆密封", 120, 0.61),
    ("Safety wear", "劳保用品", 70, 0.59), ("Lighting", "照明", 140, 0.64), ("Pumps", "水泵", 680, 0.69),
)  # fmt: skip
PRODUCTS = 320


BANK, RECEIVABLES, INVENTORY, PREPAID_ASSETS, DEPRECIATION = "1002", "1122", "1405", "1601", "1602"
PAYABLES, VAT_PAYABLE, CAPITAL, RETAINED = "2202", "222101", "4001", "4104"
REVENUE, COST_OF_GOODS, FREIGHT, INTEREST, INCOME_TAX = "6001", "6401", "660109", "660301", "6801"

ACCOUNTS = (  # number, name, ADS account type, subtype
    (BANK, "Cash at bank", "Assets", "Cash"),
    (RECEIVABLES, "Accounts receivable", "Assets", "Receivables"),
    (INVENTORY, "Inventory", "Assets", "Inventory"),
    (PREPAID_ASSETS, "Fixed assets", "Assets", "Fixed assets"),
    (DEPRECIATION, "Accumulated depreciation", "Assets", "Fixed assets"),
    (PAYABLES, "Accounts payable", "Liabilities", "Payables"),
    (VAT_PAYABLE, "VAT payable", "Liabilities", "Taxes"),
    (CAPITAL, "Share capital", "Equity", "Capital"),
    (RETAINED, "Retained earnings", "Equity", "Retained earnings"),
    (REVENUE, "Sales revenue", "Revenue", "Sales"),
    (COST_OF_GOODS, "Cost of goods sold", "Expenses", "Cost of sales"),
    ("660101", "Salaries", "Expenses", "Operating expense"),
    ("660102", "Social insurance", "Expenses", "Operating expense"),
    ("660103", "Rent", "Expenses", "Operating expense"),
    ("660104", "IT and telephone", "Expenses", "Operating expense"),
    ("660105", "Travel", "Expenses", "Operating expense"),
    ("660106", "Packaging material", "Expenses", "Operating expense"),
    ("660107", "Media and events", "Expenses", "Operating expense"),
    ("660108", "Bank and collection fees", "Expenses", "Operating expense"),
    (FREIGHT, "Freight out", "Expenses", "Operating expense"),
    ("660110", "Depreciation", "Expenses", "Operating expense"),
    ("660111", "Sales commission", "Expenses", "Operating expense"),
    ("660112", "Brand advertising", "Expenses", "Operating expense"),
    (INTEREST, "Interest expense", "Expenses", "Financial"),
    (INCOME_TAX, "Income tax", "Expenses", "Tax"),
)
COST_CENTERS = (
    ("CC100", "Order desk"),
    ("CC110", "Customer service"),
    ("CC200", "Field sales"),
    ("CC205", "Inside sales"),
    ("CC210", "Key account management"),
    ("CC220", "Marketing"),
    ("CC300", "Warehouse"),
    ("CC310", "Transport"),
    ("CC400", "Collections"),
    ("CC500", "Product management"),
    ("CC900", "General management"),
)


class Expense(NamedTuple):
    """One monthly expense: where it is booked and how large it is over the whole history."""

    cost_center: str
    account: str
    percent_of_margin: float
    follows_volume: float  # 0 = the same every month, 1 = proportional to the month's invoice lines
    day_of_month: int


EXPENSES = (
    Expense("CC100", "660101", 3.7, 0.2, 25),
    Expense("CC100", "660102", 1.0, 0.2, 25),
    Expense("CC100", "660104", 0.7, 0.0, 12),
    Expense("CC300", "660101", 5.0, 0.4, 25),
    Expense("CC300", "660102", 1.2, 0.4, 25),
    Expense("CC300", "660103", 2.2, 0.0, 5),
    Expense("CC300", "660110", 0.8, 0.0, 28),
    Expense("CC300", "660106", 2.2, 1.0, 20),
    Expense("CC110", "660101", 7.4, 0.1, 25),
    Expense("CC110", "660102", 1.9, 0.1, 25),
    Expense("CC110", "660104", 1.0, 0.0, 12),
    Expense("CC200", "660101", 8.0, 0.0, 25),
    Expense("CC200", "660102", 2.1, 0.0, 25),
    Expense("CC200", "660105", 3.2, 0.4, 22),
    Expense("CC205", "660101", 3.2, 0.1, 25),
    Expense("CC205", "660102", 0.9, 0.1, 25),
    Expense("CC205", "660104", 0.4, 0.0, 12),
    Expense("CC210", "660101", 1.6, 0.0, 25),
    Expense("CC210", "660102", 0.4, 0.0, 25),
    Expense("CC210", "660111", 1.5, 1.0, 27),
    Expense("CC400", "660101", 2.4, 0.2, 25),
    Expense("CC400", "660102", 0.7, 0.2, 25),
    Expense("CC400", "660108", 0.9, 1.0, 28),
    Expense("CC220", "660101", 1.2, 0.0, 25),
    Expense("CC220", "660102", 0.3, 0.0, 25),
    Expense("CC220", "660107", 2.2, 0.5, 18),
    Expense("CC220", "660112", 1.6, 0.0, 15),
    Expense("CC500", "660101", 2.4, 0.0, 25),
    Expense("CC500", "660102", 0.7, 0.0, 25),
    Expense("CC900", "660101", 4.2, 0.0, 25),
    Expense("CC900", "660102", 1.2, 0.0, 25),
    Expense("CC900", "660103", 1.2, 0.0, 5),
    Expense("CC900", "660104", 1.1, 0.0, 12),
    Expense("CC900", "660110", 1.0, 0.0, 28),
)
FREIGHT_PERCENT_OF_MARGIN = 9.0
INTEREST_PERCENT_OF_MARGIN = 1.5
INCOME_TAX_PERCENT_OF_MARGIN = 4.0
YEARLY_RAISE = 0.03


DIRT = {
    "duplicate_rows": 3,  # of each of three files
    "corrected_accounts": 20,  # of each CRM
    "corrected_lines": 8,
    "corrected_invoices": 3,
    "late_invoices": 4,
    "late_visits": 5,
    "deleted_accounts": 2,  # of each CRM
    "deleted_cases": 4,
    "void_invoices": 6,
    "line_breaks": 2,
    "unknown_options": 2,
}
"""How many of each kind at most; a small company may have fewer of what it has few of."""
