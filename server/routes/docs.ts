import type { FastifyInstance } from "fastify";
import type { Engine } from "../../engine/api.js";
import { CACHE_CONTROL, Representation, sendConditional } from "../conditional.js";
import { DOCS_POLICY, DOCS_SCRIPT, DOCS_STYLE } from "../docs/assets.js";
import { docsOperations, docsPage } from "../docs/page.js";
import { openApiDocument } from "../openapi/document.js";
import { checkParameters } from "../parameters.js";

const HTML = "text/html; charset=utf-8";

/**
 * `GET /openapi.json`, and `GET /docs` which shows it. The document names the stream's dimensions, so that it is behind the
 * token, where there is one; a browser cannot send that when it opens a page, so that the page itself is not.
 */
export function addDocsRoutes(app: FastifyInstance, engine: Engine, hasToken: boolean): void {
  const document = openApiDocument(engine.schema, hasToken);
  const guarded = {
    "/openapi.json": new Representation(JSON.stringify(document)),
    "/docs/operations": new Representation(docsOperations(document), HTML),
  };
  const open = {
    "/docs": new Representation(docsPage(hasToken ? undefined : document), HTML),
    "/docs/docs.js": new Representation(DOCS_SCRIPT, "text/javascript; charset=utf-8"),
    "/docs/docs.css": new Representation(DOCS_STYLE, "text/css; charset=utf-8"),
  };
  for (const [url, representation] of Object.entries(guarded)) {
    app.get(url, async (request, reply) => {
      checkParameters(request.query, []);
      return sendConditional(request, reply, representation, CACHE_CONTROL.revalidate);
    });
  }
  for (const [url, representation] of Object.entries(open)) {
    app.get(url, { config: { auth: "none" } }, async (request, reply) => {
      void reply.header("content-security-policy", DOCS_POLICY);
      return sendConditional(request, reply, representation, CACHE_CONTROL.revalidate);
    });
  }
}
