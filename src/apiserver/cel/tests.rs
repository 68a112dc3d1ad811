use cel::Context;
use serde_json::{Value, json};

use super::compile::costs;
use super::program::Program;
use super::{budget, check, compile, functions};
use crate::apiserver::failure::Cause;
use crate::apiserver::schema::Schema;

/// A schema with a field of every type, as the rules below use it.
fn a_schema() -> Value {
    json!({"type": "object", "properties": {
        "n": {"type": "integer"},
        "m": {"type": "integer"},
        "x": {"type": "number"},
        "s": {"type": "string", "maxLength": 20},
        "b": {"type": "boolean"},
        "maybe": {"type": "string", "nullable": true, "maxLength": 20},
        "either": {"x-kubernetes-int-or-string": true, "maxLength": 20},
        "when": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "long": {"type": "string", "format": "duration"},
        "raw": {"type": "string", "format": "byte"},
        "max-surge": {"type": "integer"},
        "namespace": {"type": "string"},
        "list": {"type": "array", "maxItems": 5, "items": {"type": "integer"}},
        "words": {
            "type": "array",
            "maxItems": 5,
            "items": {"type": "string", "maxLength": 20},
        },
        "set": {
            "type": "array",
            "maxItems": 5,
            "x-kubernetes-list-type": "set",
            "items": {"type": "string", "maxLength": 20},
        },
        "ports": {
            "type": "array",
            "maxItems": 5,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"},
                "port": {"type": "integer"},
            }},
        },
        "labels": {
            "type": "object",
            "maxProperties": 5,
            "additionalProperties": {"type": "string", "maxLength": 20},
        },
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "inner": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "pod": {
            "type": "object",
            "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true,
        },
    }})
}

fn an_object() -> Value {
    json!({
        "apiVersion": "example.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "web", "namespace": "shop"},
        "n": 3,
        "m": -3,
        "x": 2,
        "s": "Hello-World",
        "b": true,
        "maybe": null,
        "either": "10%",
        "when": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "long": "1h30m",
        "raw": "aGk=",
        "max-surge": 1,
        "namespace": "there",
        "list": [1, 2, 3],
        "words": ["b", "a", "b"],
        "set": ["x", "y"],
        "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
        "labels": {"app": "web", "tier": "front"},
        "open": {"more": 1},
        "any": {"thing": [1]},
        "inner": {"a": 1},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
    })
}

fn with_rule(rule: &Value) -> Value {
    let mut schema = a_schema();
    schema["x-kubernetes-validations"] = json!([rule]);
    schema
}

fn compiled(written: &Value) -> Result<Schema, Vec<String>> {
    let mut schema = Schema::parse(written).unwrap();
    compile(&mut schema, written, "at").map_err(|causes| told(&causes))?;
    Ok(schema)
}

fn told(causes: &[Cause]) -> Vec<String> {
    let told = causes.iter().map(|c| format!("{}: {}", c.field, c.message));
    told.collect()
}

/// Whether the object keeps the rule, or what is said if there is no answer.
fn holds(rule: &str) -> Result<bool, String> {
    let schema = compiled(&with_rule(&json!({"rule": rule}))).map_err(|told| told.join("\n"))?;
    let causes = check(&schema, &an_object(), None).causes;
    match told(&causes).as_slice() {
        [] => Ok(true),
        [one] if one.contains("failed rule: ") => Ok(false),
        others => Err(others.join("\n")),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn rules_that_hold() {
    let rules = [
        // Types of fields.
        "self.n == 3 && self.x == 2.0 && self.x > 1 && self.s == 'Hello-World' && self.b",
        "type(self.either) == string && self.either.endsWith('%')",
        "self.max__dash__surge == 1 && self.__namespace__ == 'there'",
        "self.metadata.name == 'web' && self.kind == 'Widget' && has(self.apiVersion)",
        "!has(self.metadata.generateName) && !has(self.maybe)",
        "self.pod.metadata.name == 'p' && self.pod.kind == 'Pod'",
        "self.when < timestamp('2026-02-01T00:00:00Z') && self.when.getFullYear() == 2026",
        "self.when - duration('1s') == timestamp('2026-01-02T03:04:04Z')",
        "self.day == timestamp('2026-01-02T00:00:00Z')",
        "self.long == duration('90m') && self.long.getMinutes() == 90",
        "self.raw == b'hi' && size(self.raw) == 2",
        "'app' in self.labels && self.labels['app'] == 'web' && self.labels.tier == 'front'",
        "self.labels.all(key, key.size() > 2) && size(self.labels) == 2",
        // Lists.
        "self.list.all(i, i > 0) && self.list.exists(i, i == 2) && self.list.exists_one(i, i == 2)",
        "self.list.map(i, i * 2) == [2, 4, 6] && self.list.filter(i, i > 1).size() == 2",
        "self.list.map(i, i > 1, i + 1) == [3, 4]",
        "self.list.isSorted() && self.list.sum() == 6 && self.list.min() == 1",
        "self.list.max() == 3 && !self.words.isSorted() && self.words.max() == 'b'",
        "self.words.indexOf('b') == 0 && self.words.lastIndexOf('b') == 2",
        "self.words.indexOf('z') == -1",
        "self.words.distinct() == ['b', 'a'] && self.words.sort() == ['a', 'b', 'b']",
        "self.ports.sortBy(p, -p.port).map(p, p.name) == ['https', 'http']",
        "self.list.slice(1, 3) == [2, 3] && [[1], [2]].flatten() == [1, 2]",
        "lists.range(3) == [0, 1, 2] && self.list.reverse() == [3, 2, 1]",
        "self.list.first().value() == 1 && self.list.last() == optional.of(3)",
        "self.set == ['y', 'x'] && ['x', 'y'] == self.set && self.set + ['x', 'z'] != ['x', 'y']",
        "(self.set + ['y', 'z']) == ['x', 'y', 'z']",
        "sets.contains(self.words, ['a']) && sets.intersects([1], self.list)",
        "sets.equivalent(self.words, ['a', 'b'])",
        "self.ports == self.ports && self.ports[1].port == 443",
        // Both variables.
        "self.list.all(i, v, v == i + 1) && self.labels.exists(k, v, k == 'app' && v == 'web')",
        "self.labels.existsOne(k, v, v == 'front') && self.list.exists_one(i, v, v == 2)",
        "self.list.transformList(i, v, v * i) == [0, 2, 6]",
        "self.list.transformList(i, v, i > 0, v) == [2, 3]",
        "self.labels.transformMap(k, v, k + v) == {'app': 'appweb', 'tier': 'tierfront'}",
        "self.labels.transformMap(k, v, k == 'app', v) == {'app': 'web'}",
        "self.words.transformMapEntry(i, v, i > 0, {v: i}) == {'a': 1, 'b': 2}",
        "self.list.all(i, a, self.words.all(j, b, i + j >= 0 && a > 0 && b != ''))",
        // Texts.
        "self.s.lowerAscii() == 'hello-world' && self.s.upperAscii().startsWith('HELLO')",
        "self.s.charAt(0) == 'H' && self.s.indexOf('o') == 4 && self.s.lastIndexOf('o') == 7",
        "self.s.replace('o', '0') == 'Hell0-W0rld'",
        "self.s.replace('o', '0', 1) == 'Hell0-World'",
        "self.s.split('-') == ['Hello', 'World'] && self.s.substring(6) == 'World'",
        "self.s.substring(0, 5) == 'Hello' && '  a '.trim() == 'a'",
        "self.words.join(',') == 'b,a,b' && self.words.join() == 'bab'",
        "'%s has %d'.format([self.s, dyn(self.n)]) == 'Hello-World has 3'",
        "strings.quote('a') == '\"a\"'",
        "self.s.matches('^[A-Z]\\\\w+-') && !self.s.matches(r'^\\d')",
        "self.s.find('[A-Z]') == 'H' && self.s.findAll('[A-Z]') == ['H', 'W']",
        "self.s.findAll('[A-Z]', 1) == ['H'] && self.s.find('z') == ''",
        "string(self.n) == '3' && int('7') == 7 && double('1.5') == 1.5 && bool('true')",
        "string(self.b) == 'true' && uint(3) == 3u && bytes('hi') == self.raw",
        "r'\\d' == '\\\\d' && '''it's''' == \"it's\"",
        // Kubernetes' own.
        "quantity('1Gi').isGreaterThan(quantity('1G')) && isQuantity('50m') && !isQuantity('x')",
        "quantity('50k').add(20) == quantity('50020')",
        "quantity('1').sub(quantity('500m')) == quantity('0.5') && sign(quantity('0')) == 0",
        "quantity('2').asInteger() == 2 && !quantity('2.5').isInteger()",
        "quantity('-1').sign() == -1 && quantity('1e3').compareTo(quantity('1k')) == 0",
        "quantity('2.5').asApproximateFloat() == 2.5 && quantity('1').isLessThan(quantity('2'))",
        "url('https://u@example.com:80/a%20b?x=1&x=2&y=#f').getHost() == 'example.com:80'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80'",
        "url('https://e.com/a b').getEscapedPath() == '/a%20b' && url('/p?q=1').getScheme() == ''",
        "url('https://e.com/?x=1&x=2').getQuery() == {'x': ['1', '2']}",
        "isURL('https://e.com') && isURL('/path') && !isURL('e.com') && !isURL('../a')",
        "!isURL('http://#%a$#@') && !isURL('http://e.com#f') && !isURL('http://a%20b/')",
        "!isURL('http://a b.com/') && !isURL(':foo') && !isURL('') && !isURL('http://a:b/')",
        "isIP('10.0.0.1') && !isIP('::ffff:1.2.3.4') && ip('::1').isLoopback()",
        "ip('::1').family() == 6 && ip.isCanonical('::1') && !ip.isCanonical('0:0:0:0:0:0:0:1')",
        "ip('8.8.8.8').isGlobalUnicast() && ip('fe80::1').isLinkLocalUnicast()",
        "ip('224.0.0.1').isLinkLocalMulticast() && string(ip('10.0.0.1')) == '10.0.0.1'",
        "ip('0.0.0.0').isUnspecified() && string(cidr('10.0.0.0/8')) == '10.0.0.0/8'",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.0'))",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').ip() == ip('10.1.2.3')",
        "cidr('::/0').prefixLength() == 0 && !isCIDR('10.0.0.0') && !isCIDR('10.0.0.0/33')",
        "!format.dns1123Label().validate('web').hasValue()",
        "format.named('dns1123Subdomain').value().validate('-').orValue(['']).size() == 1",
        "!format.named('nothing').hasValue() && format.uuid().validate('x').hasValue()",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('1.2.3-rc.1') && !isSemver('v1.0')",
        "semver('v1.0', true).major() == 1 && semver('1.2.3').compareTo(semver('1.2.3')) == 0",
        "semver('1.2.3+a') == semver('1.2.3+b') && semver('01.2', true).minor() == 2",
        // Optional values.
        "self.?maybe.orValue('none') == 'none' && self.?s.hasValue()",
        "self.labels[?'app'].orValue('') == 'web' && !self.labels[?'no'].hasValue()",
        "self.list[?9].orValue(7) == 7 && self.?inner.?a.value() == 1",
        "optional.of(1).or(optional.none()).value() == 1",
        "optional.ofNonZeroValue(0) == optional.none()",
        "self.?s.optMap(s, s.size()).orValue(0) == 11",
        "[?self.?maybe, 'x'] == ['x'] && {?'a': self.?s} == {'a': 'Hello-World'}",
        "optional.unwrap([optional.of(1), optional.none()]) == [1]",
        "[optional.of(2)].unwrapOpt() == [2]",
        // Errors that do not matter.
        "self.list[9] == 1 || self.b",
        "self.list.exists(i, 6 / (i - 1) == 3)",
        "has(self.labels.app) && (self.n / 2) == 1 && self.n % 2 == 1 && -self.m == 3",
        "(self.n > 1 ? 'a' : 'b') == 'a' && [1, 2].size() == 2 && null == null",
        "google.protobuf.Timestamp == type(self.when)",
        "dyn(1) == dyn(1.0) && 1 < 1.5 && 1u < 2 && self == self",
    ];
    let failed: Vec<String> = rules
        .iter()
        .filter(|rule| holds(rule) != Ok(true))
        .map(|rule| format!("{rule}: {:?}", holds(rule)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn rules_that_do_not_hold() {
    for rule in [
        "self.n > 3",
        "self.s == 'hello'",
        "self.words.exists(w, w == 'z')",
        "has(self.maybe)",
        "self.set == ['x']",
        "'z' in self.set",
    ] {
        assert_eq!(holds(rule), Ok(false), "{rule}");
    }
}

#[test]
fn rules_without_an_answer_say_why() {
    for (rule, wanted) in [
        ("self.list[9] == 1", "index out of bounds: 9"),
        ("self.labels['no'] == ''", "no such key: no"),
        ("self.n / 0 == 1", "division by zero"),
        (
            "int(self.s) == 1",
            "type conversion error from 'string' to 'int'",
        ),
        ("self.n % 0 == 1", "modulus by zero"),
        ("9223372036854775807 + self.n > 0", "integer overflow"),
        (
            "self.words.filter(w, false).max() == ''",
            "max called on empty list",
        ),
        (
            "quantity(self.s).isInteger()",
            "quantities must match the regular expression \
            '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "self.s.matches(self.s + '(')",
            "error parsing regexp: unclosed group: `Hello-World(`",
        ),
    ] {
        let wanted = format!(": Invalid value: \"object\": {wanted} evaluating rule: {rule}");
        assert_eq!(holds(rule), Err(wanted));
    }
    let rule = "self.either < 5";
    let wanted = format!(
        ": Invalid value: \"object\": 'no such overload': call arguments did not match a supported \
         operator, function or macro signature for rule: {rule}"
    );
    assert_eq!(holds(rule), Err(wanted));
}

/// What is told about a rule that does not compile, without the rule.
fn refusal(rule: &str) -> String {
    let told = compiled(&with_rule(&json!({"rule": rule}))).unwrap_err();
    let (_, problem) = told[0].split_once("}: ").unwrap();
    problem.to_owned()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn rules_that_make_no_sense_are_refused_with_the_place() {
    for (rule, wanted) in [
        (
            "self.nn == 1",
            "1:5: undefined field 'nn'\n | self.nn == 1\n | ....^",
        ),
        (
            "slef.n == 1",
            "1:1: undeclared reference to 'slef' (in container '')\n | slef.n == 1\n | ^",
        ),
        (
            "self.n == 'a'",
            "1:8: found no matching overload for '_==_' applied to '(int, string)'\n \
             | self.n == 'a'\n | .......^",
        ),
        (
            "self.s.size() > 1 &&\nself.s.fo()",
            "2:10: undeclared reference to 'fo' (in container '')\n | self.s.fo()\n | .........^",
        ),
        (
            "self.s.startsWith(1)",
            "1:18: found no matching overload for 'startsWith' applied to 'string.(int)'\n \
             | self.s.startsWith(1)\n | .................^",
        ),
        (
            "self.n.a == 1",
            "1:7: type 'int' does not support field selection\n | self.n.a == 1\n | ......^",
        ),
        (
            "self.n && true",
            "1:5: expected type 'bool' but found 'int'\n | self.n && true\n | ....^",
        ),
        (
            "self.n.all(x, true)",
            "1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, \
             or dynamic)\n | self.n.all(x, true)\n | ....^",
        ),
        (
            "['a', 1].size() > 0",
            "1:7: expected type 'string' but found 'int'\n | ['a', 1].size() > 0\n | ......^",
        ),
        (
            "self.s.matches('(')",
            "1:16: invalid matches argument\n | self.s.matches('(')\n | ...............^",
        ),
        (
            "self.long < duration('1 day')",
            "1:22: invalid duration argument\n | self.long < duration('1 day')\n \
             | .....................^",
        ),
        // What has no schema is not there.
        (
            "has(self.open.more)",
            "1:4: undefined field 'more'\n | has(self.open.more)\n | ...^",
        ),
        (
            "has(self.any)",
            "1:4: undefined field 'any'\n | has(self.any)\n | ...^",
        ),
    ] {
        assert_eq!(
            refusal(rule),
            format!("compilation failed: ERROR: <input>:{wanted}")
        );
    }
    assert_eq!(refusal("self.n"), "cel expression must evaluate to a bool");
    assert!(
        refusal("self.n ==").starts_with("compilation failed: ERROR: <input>:1:10: Syntax error: ")
    );
}

#[test]
fn what_could_exhaust_the_server_is_refused() {
    for (rule, wanted) in [
        (
            format!("{}true{}", "(".repeat(3000), ")".repeat(3000)),
            "Recursion limit",
        ),
        (
            format!("1{} > 0", "+1".repeat(5000)),
            "expressions of more than 500 parts",
        ),
        (
            format!("'{}' == ''", "a".repeat(20_000)),
            "expressions of more than 16384 bytes",
        ),
        (format!("{}true", "!".repeat(16_000)), ""),
        (
            format!("self{} == 1", ".a".repeat(8000)),
            "expressions of more than 500 parts",
        ),
    ] {
        match compiled(&with_rule(&json!({"rule": rule}))) {
            Ok(_) => assert_eq!(wanted, ""),
            Err(told) => assert!(told[0].contains(wanted), "{wanted}: {}", &told[0][..100]),
        }
    }
    // Deep, but not too deep: evaluated on a stack that suffices.
    assert_eq!(holds(&format!("1{} == 401", "+1".repeat(400))), Ok(true));
}

#[test]
fn a_rule_that_goes_on_too_long_is_ended() {
    let loops = "[lists.range(100000)].all(l, lists.range(200).all(a, l.exists(c, c == 0)))";
    let program = Program::compile(loops, &[]).unwrap();
    let context = Context::with_env(functions::environment().clone());
    budget::refill();
    let ended = program.evaluate(&context, |_| ());
    assert_eq!(ended, Err(budget::USED_UP.to_owned()));
}

/// A schema of one field that has the rule, as `spec.f`.
fn field_with(field: &Value, rule: &Value) -> Value {
    let mut field = field.clone();
    field["x-kubernetes-validations"] = json!([rule]);
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "f": field,
            "other": {"type": "integer"},
        }},
    }})
}

fn changed(schema: &Value, from: Option<&Value>, to: &Value) -> Vec<String> {
    let schema = compiled(schema).unwrap();
    let wrap = |f: &Value| json!({"spec": {"f": f}});
    let before = from.map(wrap);
    told(&check(&schema, &wrap(to), before.as_ref()).causes)
}

#[test]
fn a_transition_rule_is_about_what_was_there() {
    let rule = json!({"rule": "self >= oldSelf", "message": "may not shrink"});
    let schema = field_with(&json!({"type": "integer"}), &rule);
    assert_eq!(changed(&schema, None, &json!(1)), [""; 0]);
    assert_eq!(changed(&schema, Some(&json!(1)), &json!(2)), [""; 0]);
    let wanted = ["spec.f: Invalid value: 1: may not shrink"];
    assert_eq!(changed(&schema, Some(&json!(2)), &json!(1)), wanted);
    // Absent before, or absent now.
    assert_eq!(changed(&schema, Some(&Value::Null), &json!(1)), [""; 0]);
    assert_eq!(changed(&schema, Some(&json!(2)), &Value::Null), [""; 0]);
}

#[test]
fn a_rule_with_an_optional_old_value_is_about_new_ones_too() {
    let rule = json!({
        "rule": "oldSelf.orValue(0) < self",
        "optionalOldSelf": true,
        "messageExpression": "'must be more than %d'.format([oldSelf.orValue(0)])",
    });
    let schema = field_with(&json!({"type": "integer"}), &rule);
    assert_eq!(changed(&schema, None, &json!(1)), [""; 0]);
    assert_eq!(changed(&schema, None, &json!(0)).len(), 1);
    assert_eq!(changed(&schema, Some(&json!(1)), &json!(2)), [""; 0]);
    assert_eq!(changed(&schema, Some(&json!(2)), &json!(1)).len(), 1);
}

#[test]
fn items_of_keyed_lists_are_known_again() {
    let rule =
        json!({"rule": "self.port == oldSelf.port", "fieldPath": ".port", "message": "fixed"});
    let list = json!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name", "protocol"],
        "items": {
            "type": "object",
            "required": ["name", "protocol"],
            "properties": {
                "name": {"type": "string"},
                "protocol": {"type": "string"},
                "port": {"type": "integer"},
            },
            "x-kubernetes-validations": [rule],
        },
    });
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"f": list}},
    }});
    let port = |name: &str, port: i64| json!({"name": name, "protocol": "TCP", "port": port});
    let before = json!([port("a", 1), port("b", 2)]);
    let moved = json!([port("c", 9), port("b", 2), port("a", 1)]);
    assert_eq!(changed(&schema, Some(&before), &moved), [""; 0]);
    let wrong = json!([port("b", 3), port("a", 1)]);
    let wanted = ["spec.f[0].port: Invalid value: fixed"];
    assert_eq!(changed(&schema, Some(&before), &wrong), wanted);
}

#[test]
fn a_transition_rule_needs_items_that_are_known_again() {
    for list in ["atomic", "set"] {
        let schema = json!({"type": "object", "properties": {"l": {
            "type": "array",
            "x-kubernetes-list-type": list,
            "maxItems": 9,
            "items": {"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]},
        }}});
        assert_eq!(
            compiled(&schema).unwrap_err(),
            [
                "at.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: \"self == \
              oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within \
              at.properties[l]"
            ]
        );
    }
    let rule = json!({"rule": "self > 0", "optionalOldSelf": true});
    assert_eq!(
        compiled(&field_with(&json!({"type": "integer"}), &rule)).unwrap_err(),
        [
            "at.properties[spec].properties[f].x-kubernetes-validations[0].optionalOldSelf: Invalid \
          value: true: may not be set if oldSelf is not used in rule"
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_broken_rule_is_told_as_it_asks_to_be() {
    let text = json!({"type": "string"});
    let object = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    for (field, value, rule, wanted) in [
        (
            &text,
            json!("x"),
            json!({"rule": "self == 'y'"}),
            "Invalid value: \"x\": failed rule: self == 'y'",
        ),
        (
            &text,
            json!("x"),
            json!({"rule": "self == 'y'", "reason": "FieldValueForbidden", "message": " no "}),
            "Forbidden: no",
        ),
        (
            &text,
            json!("x"),
            json!({"rule": "self == 'y'", "reason": "FieldValueDuplicate"}),
            "Duplicate value: \"x\"",
        ),
        (
            &text,
            json!("x"),
            json!({"rule": "self == 'y'", "messageExpression": "'not ' + self", "message": "no"}),
            "Invalid value: \"x\": not x",
        ),
        // Messages that cannot be had give way.
        (
            &text,
            json!("x"),
            json!({"rule": "self == 'y'", "messageExpression": "'a'.charAt(9)", "message": "no"}),
            "Invalid value: \"x\": no",
        ),
        (
            &text,
            json!("x"),
            json!({"rule": "self == 'y'", "messageExpression": "'a\\nb'", "message": "no"}),
            "Invalid value: \"x\": no",
        ),
        (
            &object,
            json!({}),
            json!({"rule": "has(self.a)", "reason": "FieldValueRequired", "fieldPath": ".a", "message": "a is needed"}),
            ".a: Required value: a is needed",
        ),
        (
            &object,
            json!({"a": "x"}),
            json!({"rule": "false", "reason": "FieldValueDuplicate"}),
            "Duplicate value",
        ),
        (
            &map,
            json!({"k.x": "v"}),
            json!({"rule": "false", "fieldPath": "['k.x']", "message": "no"}),
            "[k.x]: Invalid value: no",
        ),
    ] {
        let told = changed(&field_with(field, &rule), None, &value);
        let place = if wanted.starts_with(['.', '[']) {
            "spec.f"
        } else {
            "spec.f: "
        };
        let wanted = format!("{place}{wanted}").replace("spec.f[", "spec.f.[");
        assert_eq!(told, [wanted], "{rule}");
    }
}

#[test]
fn rules_stand_at_every_level() {
    let rule = |rule: &str| json!([{"rule": rule}]);
    let schema = json!({
        "type": "object",
        "properties": {
            "metadata": {"type": "object", "properties": {
                "name": {"type": "string", "x-kubernetes-validations": rule("self.size() < 4")},
            }},
            "list": {"type": "array", "items": {
                "type": "object",
                "additionalProperties": {
                    "type": "integer",
                    "x-kubernetes-validations": rule("self > 0"),
                },
            }},
            "bad name": {"type": "integer", "x-kubernetes-validations": rule("self > 1")},
        },
        "x-kubernetes-validations": rule("self.metadata.name != 'no'"),
    });
    let schema = compiled(&schema).unwrap();
    let object = json!({"metadata": {"name": "long"}, "list": [{"a": 1}, {"b": 0}], "bad name": 1});
    assert_eq!(
        told(&check(&schema, &object, None).causes),
        [
            "bad name: Invalid value: 1: failed rule: self > 1",
            "list[1][b]: Invalid value: 0: failed rule: self > 0",
            "metadata.name: Invalid value: \"long\": failed rule: self.size() < 4",
        ]
    );
}

#[test]
fn what_was_wrong_already_is_only_told() {
    let schema = field_with(&json!({"type": "integer"}), &json!({"rule": "self > 0"}));
    let schema = compiled(&schema).unwrap();
    let before = json!({"spec": {"f": 0, "other": 1}});
    let after = json!({"spec": {"f": 0, "other": 2}});
    let verdict = check(&schema, &after, Some(&before));
    assert_eq!(verdict.causes, []);
    assert_eq!(
        verdict.warnings,
        ["spec.f: Invalid value: 0: failed rule: self > 0"]
    );
    let worse = json!({"spec": {"f": -1, "other": 1}});
    assert_eq!(check(&schema, &worse, Some(&before)).causes.len(), 1);
}

#[test]
fn rules_that_could_cost_too_much_are_refused() {
    let items = |most: Value, rule: &str| {
        json!({"type": "object", "properties": {"l": {
            "type": "array",
            "maxItems": most,
            "items": {"type": "string", "maxLength": 10},
            "x-kubernetes-validations": [{"rule": rule}],
        }}})
    };
    let at = "at.properties[l].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost \
              exceeds budget by factor of";
    let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where \
                arrays, maps, and strings are declared)";
    let pairs = "self.all(a, self.exists_one(b, a == b))";
    assert!(compiled(&items(json!(100), pairs)).is_ok());
    let told = compiled(&items(Value::Null, pairs)).unwrap_err();
    assert_eq!(told[0], format!("{at} more than 100x {hint}"));
    // A rule in an unbounded list is asked as often as items fit into a request.
    let rule = "self.a + self.a + self.a + self.a + self.a > 0";
    let schema = |required: Value| {
        json!({"type": "object", "properties": {"l": {"type": "array", "items": {
            "type": "object",
            "required": required,
            "properties": {"a": {"type": "integer"}, "a_long_name_for_a_field": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": rule}],
        }}}})
    };
    let told = compiled(&schema(json!([]))).unwrap_err();
    // Five selections of 2, four sums and a comparison, in items of at least 2 bytes.
    let wanted = format!(
        "at.properties[l].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost \
         exceeds budget by factor of 1.6x {hint}"
    );
    assert_eq!(told, [wanted]);
    assert!(compiled(&schema(json!(["a_long_name_for_a_field"]))).is_ok());
}

/// The costs are those that Kubernetes' own tests expect (`TestCostEstimation` of
/// `apiextensions-apiserver/pkg/apiserver/schema/cel`).
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn rules_cost_what_they_cost_in_kubernetes() {
    let list = |items: &str| json!({"type": "array", "items": {"type": items}});
    let map = |values: &str| json!({"type": "object", "additionalProperties": {"type": values}});
    let dates = |format: &str| json!({"type": "object", "additionalProperties": {"type": "string", "format": format}});
    let text = json!({"type": "string"});
    let bytes = json!({"type": "string", "format": "byte"});
    let words = json!({"type": "string", "enum": ["A", "B", "C", "LongValue"]});
    let either = json!({"x-kubernetes-int-or-string": true});
    let all = "self.all(x, true)";
    for (schema, rule, cost, limit, limited) in [
        (list("number"), all, 4_718_591, 10, 32),
        (list("string"), all, 3_145_727, 20, 62),
        (list("boolean"), all, 1_887_437, 5, 17),
        (map("number"), all, 1_348_169, 10, 32),
        (map("string"), all, 1_179_647, 3, 11),
        (map("boolean"), all, 943_718, 100, 302),
        (text.clone(), "self.contains('test')", 314_574, 10, 5),
        (text.clone(), "self.startsWith('test')", 2, 15, 2),
        (text.clone(), "self.endsWith('test')", 2, 30, 2),
        (
            text.clone(),
            "size(self + \"hello\") > size(\"hello\")",
            314_578,
            4,
            7,
        ),
        (list("number"), "self[1] == 0.0", 2, 5000, 2),
        (list("string"), "self[1] == self[1]", 314_577, 8, 314_577),
        (text.clone(), "self.matches(\"x\")", 314_574, 50, 22),
        (
            text.clone(),
            "\"\".matches(\"(((((((((())))))))))[0-9]\")",
            7,
            10,
            7,
        ),
        (text.clone(), "self.matches(\"\")", 1, 100, 1),
        (text.clone(), "self == \"x\"", 2, 0, 1),
        (bytes, "self == b\"x\"", 2, 0, 1),
        (map("number"), "self[\"x\"] == 0.0", 2, 0, 2),
        (map("integer"), "oldSelf.size() == self.size()", 5, 10, 5),
        (dates("date-time"), "self[\"a\"] == self[\"b\"]", 8, 7, 8),
        (dates("duration"), "self[\"c\"] == self[\"d\"]", 8, 42, 8),
        (text, "self.lowerAscii() == 'lower!'", 314_575, 10, 6),
        (words, "self.contains('A')", 2, 1000, 401),
        (either, "isQuantity(self)", 314_574, 20, 9),
    ] {
        let mut schema = schema;
        schema["x-kubernetes-validations"] = json!([{"rule": rule}]);
        assert_eq!(costs(&schema), [cost], "{schema}");
        let name = match (schema["type"].as_str(), schema["items"].is_object()) {
            (_, true) => "maxItems",
            (Some("object"), _) => "maxProperties",
            _ => "maxLength",
        };
        schema[name] = json!(limit);
        assert_eq!(costs(&schema), [limited], "{schema}");
    }
    for (rule, limited) in [
        ("self.all(x, self.all(y, true))", 352),
        ("self.all(x, self.all(y, self.all(z, true)))", 3552),
    ] {
        let mut schema = list("number");
        schema["x-kubernetes-validations"] = json!([{"rule": rule}]);
        assert!(costs(&schema)[0] > 10_000_000);
        schema["maxItems"] = json!(10);
        assert_eq!(costs(&schema), [limited], "{rule}");
    }
}
