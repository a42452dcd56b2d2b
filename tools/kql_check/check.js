// Judge KQL queries with Microsoft's own parser and semantic binder.
//
// Standard input:  {"tables": {"Table": [{"name", "type"}, ...]},
//                   "queries": [{"id", "text"}, ...]}
// Standard output: [{"id", "faults": [{"start", "message", "code"}, ...],
//                    "columns": [{"name", "type"}, ...]}, ...]
// `start` is a position in the text, counted from 0; `columns` is what the query returns.
"use strict";

const fs = require("fs");

require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const language = globalThis.Kusto.Language;
const symbols = language.Symbols;

/** Quote a column name, so that names such as `kind` or `a-b` stay names. */
function quote(name) {
  return "['" + name.replace(/\\/g, "\\\\").replace(/'/g, "\\'") + "']";
}

/** Build a table symbol from its name and columns. */
function tableSymbol(name, columns) {
  const schema = columns.map((column) => `${quote(column.name)}: ${column.type}`).join(", ");
  return symbols.TableSymbol.From(`(${schema})`).WithName(name);
}

/** Turn one of the library's lists into an array. */
function toArray(list) {
  return Array.from({ length: list.Count }, (_, index) => list.getItem(index));
}

/** Return the faults and the result columns of one query. */
function judge(query, globals) {
  const code = language.KustoCode.ParseAndAnalyze(query.text, globals);
  const faults = toArray(code.GetDiagnostics()).map((fault) => ({
    start: fault.Start,
    message: fault.Message,
    code: fault.Code,
  }));
  const result = code.ResultType;
  const columns = result && result.Columns ? toArray(result.Columns) : [];
  return {
    id: query.id,
    faults,
    columns: columns.map((column) => ({ name: column.Name, type: column.Type.Name })),
  };
}

const request = JSON.parse(fs.readFileSync(0, "utf8"));
const tables = Object.entries(request.tables).map(([name, columns]) => tableSymbol(name, columns));
const database = new symbols.DatabaseSymbol.$ctor1("content", tables);
const globals = language.GlobalState.Default.WithDatabase(database);
process.stdout.write(JSON.stringify(request.queries.map((query) => judge(query, globals))));
