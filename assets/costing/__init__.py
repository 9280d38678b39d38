"""The costing method as data: what a controller writes in spreadsheets, checked and made readable for SQL."""
