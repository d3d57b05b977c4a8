"""Facts about a documented API (documented_api.txt), and an OpenAPI document of ours held against them."""

import re


def documented(facts):
    """The operations that a file of facts lists."""
    operations = {}
    for line in facts.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        if line[0] != " ":
            one = operations[f"{words[0]} {words[1]}"] = {"codes": set(words[2:]), "parameters": {}, "members": {}, "gives": {}}
        elif words[0] in ("path", "query"):
            one["parameters"][words[0], words[1].rstrip("!")] = (words[1].endswith("!"), words[2])
        elif words[0].startswith("body"):
            one["body"] = (words[0].endswith("!"), words[1], words[2])
        elif words[0] == "member":
            one["members"][words[1].rstrip("!")] = (words[1].endswith("!"), words[2])
        elif words[0] == "operation":
            one["operation"] = words[1]
        elif words[0] == "answer":
            one["answer"] = words[1]
        else:
            one["gives"][words[1]] = words[2]
    return operations


class Ours:
    def __init__(self, document):
        self.document = document
        self.schemas = document["components"]["schemas"]

    def resolve(self, schema):
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[-1]]
        return schema

    def types(self, schema):
        schema = self.resolve(schema)
        found = set()
        for key in ("anyOf", "oneOf"):
            for one in schema.get(key, []):
                found |= self.types(one)
        kind = schema.get("type")
        if kind:
            found |= {kind} if isinstance(kind, str) else set(kind)
        elif "enum" in schema:
            found.add("string")
        return found - {"null"}

    def operations(self):
        return {
            f"{method.upper()} {path}": operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }

    def fits(self, schema, wanted):
        types = self.types(schema)
        return wanted == "any" or not types or set(wanted.split("|")) <= types


def differences(ours, operation, wanted):
    codes = set(operation["responses"])
    if operation["operationId"] != wanted.get("operation", operation["operationId"]):
        yield f"is called {operation['operationId']}"
    yield from (f"answers no {code}" for code in sorted(wanted["codes"] - codes))
    parameters = {(p["in"], p["name"]): p for p in operation.get("parameters", [])}
    for key, (required, kind) in wanted["parameters"].items():
        have = parameters.get(key)
        if not have:
            yield f"no {key[0]} parameter {key[1]}"
            continue
        if have.get("required", False) != required:
            yield f"{key[0]} parameter {key[1]}: required is {have.get('required', False)}"
        if not ours.fits(have["schema"], kind):
            yield f"{key[0]} parameter {key[1]}: {sorted(ours.types(have['schema']))} instead of {kind}"
    for key, have in parameters.items():
        if key not in wanted["parameters"] and have.get("required"):
            yield f"{key[0]} parameter {key[1]} is required"
    yield from body_differences(ours, operation.get("requestBody"), wanted)
    success = next((operation["responses"][code] for code in ("200", "201") if code in codes), {})
    answer = next(iter(success.get("content", {"": {}}).values())).get("schema", {})
    if not ours.fits(answer, wanted["answer"]):
        yield f"answers {sorted(ours.types(answer))} instead of {wanted['answer']}"
    members = ours.resolve(answer).get("properties", {})
    for name, kind in wanted["gives"].items():
        if name not in members:
            yield f"gives no {name}"
        elif not ours.fits(members[name], kind):
            yield f"gives {name} as {sorted(ours.types(members[name]))} instead of {kind}"


def body_differences(ours, have, wanted):
    if "body" not in wanted:
        if have and have.get("required"):
            yield "has a required body"
        return
    required, content_type, kind = wanted["body"]
    if not have or content_type not in have["content"]:
        yield f"takes no {content_type}"
        return
    if required and not have.get("required") and wanted["members"] and any(m[0] for m in wanted["members"].values()):
        yield "the body is not required"
    schema = ours.resolve(have["content"][content_type].get("schema", {}))
    if not ours.fits(schema, kind):
        yield f"the body is {sorted(ours.types(schema))} instead of {kind}"
    members = schema.get("properties", {})
    for name, (required, kind) in wanted["members"].items():
        if name not in members:
            yield f"takes no member {name}"
            continue
        if (name in schema.get("required", [])) != required:
            yield f"member {name}: required is {not required}"
        if not ours.fits(members[name], kind):
            yield f"member {name}: {sorted(ours.types(members[name]))} instead of {kind}"
    for name in schema.get("required", []):
        if name not in wanted["members"]:
            yield f"member {name} is required"


def unsound(ours):
    """What is wrong with a document in itself: references that lead nowhere, operation ids that are not unique, path parameters
    that are not those of the path."""
    text = str(ours.document)
    yield from sorted(set(re.findall(r"'#/components/schemas/([^']+)'", text)) - set(ours.schemas))
    seen = set()
    for name, operation in ours.operations().items():
        if operation["operationId"] in seen:
            yield f"{name}: {operation['operationId']} is not unique"
        seen.add(operation["operationId"])
        given = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        if set(re.findall(r"\{(\w+)\}", name)) != given:
            yield f"{name}: has the path parameters {sorted(given)}"
        if not (operation["summary"] and operation["tags"] and operation["responses"]):
            yield f"{name}: not described"


def all_differences(ours, facts):
    """Of every operation that is implemented: "METHOD path: what differs"."""
    have = ours.operations()
    return {
        f"{name}: {difference}"
        for name, wanted in facts.items()
        if name in have
        for difference in differences(ours, have[name], wanted)
    }
