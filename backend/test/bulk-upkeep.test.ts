import { describe, expect, test } from '@jest/globals';
import { BulkRecipient } from '../src/bulk/bulk.entity.js';
import { createBulkState, type BulkState } from '../src/bulk/state.js';
import { createBulkUpkeep, type PersonTraces } from '../src/bulk/upkeep.js';
import { systemClock } from '../src/lib/clock.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases } from './support/backend.js';
import { feederParts, insertJob } from './support/bulk.js';
import { makeAccount, makeSession } from './support/outbox.js';
import { closeAfterEach, openOwn } from './support/own-database.js';
import { coreOf } from './support/parts.js';

closeAfterEach();

const address = '5511900000000@c.us';
const traces: PersonTraces = {
  all: () => [address],
  mayBeIn: (text) => text.includes('5511900000000'),
  removeFrom: (value) => value,
};

/** Counts how often the content of a job is parsed while `run` runs. */
async function countParsed(run: (parsed: () => number) => Promise<void>): Promise<void> {
  const { parse } = JSON;
  let count = 0;
  JSON.parse = (text, reviver) => {
    if (String(text).includes('Hello {{name}}')) count += 1;
    return parse(text, reviver);
  };
  try {
    await run(() => count);
  } finally {
    JSON.parse = parse;
  }
}

describe.each(await databases())('one person in many bulk jobs on %s', (database) => {
  test('is exported and erased without the contents of all jobs in memory', async () => {
    const { opened } = await openOwn(database);
    const core = coreOf(opened);
    const accountId = await makeAccount(opened);
    const sessionId = await makeSession(opened, accountId);
    const session = await opened.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    // More than two pages.
    const jobs = 410;
    for (let index = 0; index < jobs; index += 1) await insertJob(opened, session, 1, new Date(Date.now() + index));
    const media = { remove: async () => undefined };
    const state = createBulkState({ events: core.events, clock: systemClock }, { media, maxFailedPercent: 0 });
    const { contents } = feederParts(() => '');
    await countParsed(async (parsed) => {
      const stored = await createBulkUpkeep(core, { state, contents, media }).stored(accountId, traces);
      expect([stored.length, new Set(stored.map(({ jobId }) => jobId)).size, parsed()]).toEqual([jobs, jobs, 0]);
    });
    await countParsed(async (parsed) => {
      const parsedBefore: number[] = [];
      const lock: BulkState['lock'] = (tx, job) => (parsedBefore.push(parsed()), state.lock(tx, job));
      expect(
        await createBulkUpkeep(core, { state: { ...state, lock }, contents, media }).erase(accountId, traces, (_, work) =>
          work(),
        ),
      ).toBe(jobs);
      expect(parsedBefore[0]).toBe(0);
    });
    expect(await opened.reader.getRepository(BulkRecipient).countBy({ accountId, address })).toBe(0);
    expect(await opened.reader.getRepository(BulkRecipient).countBy({ accountId, reasonCode: 'ERASED' })).toBe(jobs);
  });
});
