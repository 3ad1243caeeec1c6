export { cover, type Run, type SealedCalendars } from "./cover.js";
export { execute, prepareLive, prepareQuery, runQuery, type PreparedQuery } from "./execute.js";
export { Questions, type QuestionGround } from "./questions.js";
export { DEFAULT_LIMIT, parseQuery } from "./parse.js";
export type { Moment, ParsedQuery, QueryContext } from "./types.js";
