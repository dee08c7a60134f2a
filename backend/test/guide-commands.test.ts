import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { exampleOf, operationIds, operations, requestExamplesOf } from '@chasqui/shared';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { startCore, type Core } from './support/core.js';
import { curlCommands, type CurlCommand } from './support/shell-commands.js';
import { startSink, type Sink } from './support/sink.js';
import { sounds } from './support/sounds.js';
import { readText, root } from './support/source.js';
import { thumbnail } from './support/thumbnail.js';

/**
 * The commands of the documents and the requests of `examples/http`, sent to a backend one after the other, as a reader does: ids are those of the
 * replies before. Only keys, files and addresses of the reader are replaced by some that exist here.
 */

/** Requests that cannot succeed here, with the error that they get. */
const refused: Record<string, string> = {
  'GET /sessions/current/passkey?format=script': 'SESSION_STATE_CONFLICT',
  'POST /sessions/current/passkey': 'SESSION_STATE_CONFLICT',
};

/** The dates of the documents are in this time. It goes on from here. */
const begin = Date.parse('2026-11-20T20:30:00Z') - performance.now();
const clock = { now: () => new Date(begin + performance.now()), monotonic: () => performance.now() };

const firstCursor = '00000000000001';
const metricsToken = randomBytes(32).toString('hex');
const gif = Buffer.from('R0lGODlhAQABAAAAACw=', 'base64');
const files: Record<string, Blob> = {
  'invoice.pdf': new Blob(['%PDF-1.4\n%%EOF\n'], { type: 'application/pdf' }),
  'people.csv': new Blob(
    ['number;name;time\n+55 11 99999-0001;Ana;10:00\n+55 11 99999-0003;Eva;11:00\n+55 11 99999-0004;Leo;12:00\n'],
    { type: 'text/csv' },
  ),
  'opt-outs.csv': new Blob(['number\n+55 11 99999-0002\n'], { type: 'text/csv' }),
};

let core: Core;
let site: Sink;
/** Values of the variables of the documents, by name. */
let known: Record<string, string>;
beforeAll(async () => {
  site = await startSink((_req, res) => void res.setHeader('content-type', 'image/gif').end(gif));
});
afterAll(() => site?.close());
beforeEach(async () => {
  const settings = { EGRESS_ALLOW: '127.0.0.1/32', MAX_SESSIONS: '20', METRICS_TOKEN: metricsToken };
  core = await startCore({ linked: false, clock, settings });
  for (const id of operationIds) core.worker.answer.set(id, exampleOf(operations[id].output, 'output') as never);
  known = {};
});
afterEach(() => core?.close());

const pathOf = ({ url }: CurlCommand): string => url.pathname.replace('/api/v1', '') + url.search;
const isAbout = (command: CurlCommand, pattern: RegExp): boolean => pattern.test(`${command.method} ${pathOf(command)}`);

/** What a reader has done before the command, though the document has no command for it. */
async function prepare(command: CurlCommand): Promise<void> {
  if (isAbout(command, / \/sessions\/shop\//)) await core.post('/sessions', { name: 'shop' });
  if (!isAbout(command, / \/(messages|schedules|privacy|events|ws|sessions\/session|sessions\/current\/channels)\b/)) return;
  if (!known['session']) {
    const { body } = await core.post('/sessions/init');
    known['session'] = (body.data as { sessionId: string }).sessionId;
  }
  core.sessionId = known['session'];
  if ((await core.session()).status !== 'connected') await core.worker.link(core.sessionId);
  if (isAbout(command, /PATCH \/messages\/event/)) {
    const event = { recipient: '+5511999990001', name: 'Opening', startsAt: '2027-01-15T14:00:00Z' };
    const { status, body } = await core.post('/messages/send-calendar-event', event);
    expect([status, body.error]).toEqual([200, undefined]);
    known['event'] = (body.data as { id: string }).id;
  }
  if (isAbout(command, /\/thumbnail$/)) {
    const media = { id: null, mimetype: 'image/jpeg', size: 225, filename: null, sha256: null };
    const message = core.inbound('', { content: { type: 'image', media }, thumbnail });
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    known['id'] = message.whatsappId;
  }
}

/** The variable that holds the id of a reply, by the request that was answered. */
const variables: readonly (readonly [RegExp, string])[] = [
  [/^POST \/sessions\/init/, 'session'],
  [/^POST \/templates$/, 'template'],
  [/^POST \/messages\/bulk$/, 'job'],
  [/^POST \/schedules$/, 'schedule'],
  [/^POST \/(messages\/send|webhooks$|keys$)/, 'id'],
];

/** Replaces what a reader has to have: ids, a public file, a real recording. */
const fitted = (text: string): string =>
  text
    .replaceAll('https://shop.example', site.url)
    .replaceAll('T2dnUwAC…', sounds.opus.toString('base64'))
    .replaceAll('"templateId": "template"', `"templateId": "${known['template']}"`);

/** What the browser of the reader makes of a passkey, in the form of the reference. */
function passkeyAnswer(): unknown {
  const route = core.rig.routes.find(({ id }) => id === 'sessions.answerPasskey')!;
  return Object.values(requestExamplesOf(route))[0];
}

function bodyOf({ data, parts }: CurlCommand): string | FormData | null {
  if (data === '@answer.json') return JSON.stringify(passkeyAnswer());
  if (data !== null) return fitted(data);
  if (parts.length === 0) return null;
  const form = new FormData();
  for (const { name, value } of parts) {
    if (value.startsWith('@')) form.append(name, files[value.slice(1)]!, value.slice(1));
    else form.append(name, value);
  }
  return form;
}

/** Sends a command. Returns what is wrong with its reply. */
async function problemOf(command: CurlCommand): Promise<string[]> {
  await prepare(command);
  const { method, url, headers } = command;
  const path = url.pathname.replace(/(?<=\/)(id|event|job|schedule|session|template)(?=\/|$)/g, (name) => known[name] ?? name);
  const credentials: Record<string, object> = {
    ApiKey: { authorization: `ApiKey ${core.rig.apiKey}` },
    Bearer: { authorization: `Bearer ${metricsToken}` },
  };
  // The cursor of an event that exists here, and no long wait for an event that does not come.
  const query = url.search.replace('00000000018422', firstCursor).replace('wait=30', 'wait=1');
  const cursor = headers['last-event-id'] ? { 'last-event-id': firstCursor } : {};
  const isStream = url.pathname.endsWith('/stream');
  const stop = new AbortController();
  const reply = await fetch(`${core.rig.url}${path}${query}`, {
    method,
    headers: { ...headers, ...cursor, ...credentials[headers['authorization']?.split(' ')[0] ?? ''] },
    body: bodyOf(command),
    signal: stop.signal,
  });
  const text = isStream ? '' : await reply.text();
  // Nobody reads a stream to its end.
  stop.abort();
  const request = `${method} ${pathOf(command)}`;
  const code = /"code":"([A-Z_]+)"/.exec(text)?.[1];
  if (request in refused) return code === refused[request] ? [] : [`${request}: ${reply.status} ${code}`];
  if (!reply.ok) return [`${request}: ${reply.status} ${text}`];
  const name = variables.find(([pattern]) => pattern.test(request))?.[1];
  const { id, sessionId } = name ? (JSON.parse(text) as { data: { id?: string; sessionId: string } }).data : {};
  if (name) known[name] = name === 'session' ? sessionId! : id!;
  return [];
}

async function problemsOf(commands: readonly CurlCommand[]): Promise<string[]> {
  const problems: string[] = [];
  for (const command of commands) problems.push(...(await problemOf(command)));
  return problems;
}

test.each(['README.md', 'INTEGRATION_GUIDE.md', 'docs/webhooks.md', 'docs/troubleshooting.md', 'docs/operations/monitoring.md'])(
  'the commands of %s succeed, one after the other',
  async (document) => {
    const commands = curlCommands(document);
    expect(commands.length).toBeGreaterThan(0);
    expect(await problemsOf(commands)).toEqual([]);
  },
  60_000,
);

/** The requests of a file for editors. The id of one's own is that of the last reply with one. */
function requestsIn(file: string): CurlCommand[] {
  const text = readText(`examples/http/${file}`);
  const values: Record<string, string> = {
    ...Object.fromEntries([...text.matchAll(/^@(\w+) = (.*)$/gm)].map(([, name, value]) => [name, value])),
    id: 'id',
  };
  const filled = text.replace(/^@.*\n/gm, '').replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? `missing-${name}`);
  return filled.split(/^###.*\n/m).flatMap((block) => {
    const [head, ...rest] = block.trim().split('\n\n');
    if (!head) return [];
    const [first, ...lines] = head.split('\n');
    const [method, address] = first!.split(' ');
    const headers = Object.fromEntries(
      lines.map((line) => [line.split(': ')[0]!.toLowerCase(), line.split(': ').slice(1).join(': ')]),
    );
    return [{ method: method!, url: new URL(address!), headers, data: rest.join('\n\n') || null, parts: [] }];
  });
}

test.each(readdirSync(join(root, 'examples/http')))(
  'the requests of examples/http/%s succeed, one after the other',
  async (file) => {
    const requests = requestsIn(file);
    expect(requests.length).toBeGreaterThan(3);
    expect(await problemsOf(requests)).toEqual([]);
  },
  60_000,
);
