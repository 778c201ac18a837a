"""A run's first step that the schema refuses says which rule, how many rows and which first; the report has the table of all rules."""

from __future__ import annotations

import json

import yaml

from sluice.cli import main
from sluice.core.gate import Gate
from sluice.report import page


def test_a_refusal_is_status_3_with_column_rule_rows_and_values_and_a_table_in_the_report(tmp_path, capsys):
    rows = [f"{i},{20 + i % 40},{'yes' if i % 3 else 'no'},x{i}@a.org" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,age,label,mail", *rows, "60,<b>,no,secret-word", "60,30,no,x"]) + "\n")
    (tmp_path / "s.yaml").write_text(
        "columns:\n  id: {type: integer, unique: true}\n  age: {type: integer, max: 55}\n  mail: {type: text, regex: '.*@.*'}\nexpressions: [id < age + 40]\n"
    )
    data = {"source": "rows.csv", "schema_file": "s.yaml", "sensitive": ["mail"], "columns": {"ignore": ["id"]}}
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump({"name": "rows", "task": "tabular", "data": data}))
    assert main(["data", "check", str(tmp_path)]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "age: 1 row (1.61 %) breaks `type integer` (rows.csv row 61: '<b>'); correct it, or change s.yaml: columns.age.type" in said
    assert "id: 1 row (1.61 %) breaks `unique` (rows.csv row 62 repeats rows.csv row 61)" in said
    assert "mail: 2 rows (3.23 %) break `matches .*@.*` (rows.csv row 61; rows.csv row 62)" in said and "secret-word" not in said
    assert main(["data", "check", str(tmp_path), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert [(r["column"], r["broken"]) for r in told["rules"] if r["status"] == "refuse" and r["rule"].startswith("max")] == [("age", 4)]
    shown = page.step_page(Gate("validate_data", told["decision"], tuple(told["reasons"]), told))
    assert "rules of the project&#x27;s schema" in shown or "rules of the project's schema, 4 broken" in shown
    assert "&lt;b&gt;" in shown and "secret-word" not in shown
    (tmp_path / "rows.csv").write_text("\n".join(["id,age,label,mail", *rows]).replace(",5", ",4") + "\n")
    assert main(["data", "check", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {r["status"] for r in told["rules"]} == {"pass"} and len(told["checks"]) > 8
