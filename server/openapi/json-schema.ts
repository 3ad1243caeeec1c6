/** Short hands for JSON Schema 2020-12, the language of schemas in OpenAPI 3.1. */
export type JsonSchema = Readonly<Record<string, unknown>>;

export function ref(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

/** All members are required but those whose names are in `optional`. */
export function object(
  properties: Readonly<Record<string, JsonSchema>>,
  optional: readonly string[] = [],
  description?: string,
): JsonSchema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return {
    type: "object",
    ...(description === undefined ? {} : { description }),
    properties,
    ...(required.length === 0 ? {} : { required }),
  };
}

/** A request's object: no member that is not named, since such are refused. */
export function closed(
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[],
  description?: string,
): JsonSchema {
  const optional = Object.keys(properties).filter((name) => !required.includes(name));
  return { ...object(properties, optional, description), additionalProperties: false };
}

export function array(items: JsonSchema, rest: JsonSchema = {}): JsonSchema {
  return { type: "array", items, ...rest };
}

export function tuple(...items: readonly JsonSchema[]): JsonSchema {
  return { type: "array", prefixItems: items, items: false, minItems: items.length };
}

export function oneOf(...schemas: readonly JsonSchema[]): JsonSchema {
  return { oneOf: schemas };
}

export function constant(value: string | boolean): JsonSchema {
  return { const: value };
}

export function choice(values: readonly string[], description?: string): JsonSchema {
  return { type: "string", enum: values, ...(description === undefined ? {} : { description }) };
}

export function text(description?: string): JsonSchema {
  return { type: "string", ...(description === undefined ? {} : { description }) };
}

export function whole(description?: string, minimum = 0): JsonSchema {
  return { type: "integer", minimum, ...(description === undefined ? {} : { description }) };
}

export function number(description?: string): JsonSchema {
  return { type: "number", ...(description === undefined ? {} : { description }) };
}

export function flag(description?: string): JsonSchema {
  return { type: "boolean", ...(description === undefined ? {} : { description }) };
}

export function instant(description?: string): JsonSchema {
  return { type: "string", format: "date-time", ...(description === undefined ? {} : { description }) };
}

export function nullable(schema: JsonSchema): JsonSchema {
  if (typeof schema["type"] === "string" && schema["enum"] === undefined) {
    return { ...schema, type: [schema["type"], "null"] };
  }
  return { anyOf: [schema, { type: "null" }] };
}
