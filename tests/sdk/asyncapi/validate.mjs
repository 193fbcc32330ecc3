// Reads an AsyncAPI document from standard input as the official parser does, and says in one line
// of JSON what it found: its complaints, and the fields of each operation's messages.
import { Parser } from "@asyncapi/parser";
import { ProtoBuffSchemaParser } from "@asyncapi/protobuf-schema-parser";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);

const parser = new Parser();
parser.registerSchemaParser(ProtoBuffSchemaParser());
const { document, diagnostics } = await parser.parse(Buffer.concat(chunks).toString());

const fields = (message) => {
  const payload = message.payload().json();
  return Object.keys((payload.schema ?? payload).properties ?? {});
};
const named = (items, value) => Object.fromEntries(items.map((item) => [item.id(), value(item)]));

console.log(
  JSON.stringify({
    complaints: diagnostics.map(({ code, message, path, severity }) => ({
      code,
      message,
      path: path.join("."),
      severity,
    })),
    operations: named(document?.operations().all() ?? [], (operation) =>
      operation.messages().all().flatMap(fields),
    ),
    security: named(document?.securitySchemes().all() ?? [], (scheme) => scheme.type()),
  }),
);
