import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import type { EntityTarget, ObjectLiteral } from 'typeorm';
import { insertRows } from '../src/db/rows.js';
import { MediaFile } from '../src/media/media-file.entity.js';
import { maxUploads } from '../src/media/uploads.js';
import { Schedule } from '../src/messages/recurring/schedule.entity.js';
import { maxSchedules } from '../src/messages/recurring/schedules.js';
import { Template } from '../src/templates/template.entity.js';
import { maxTemplates } from '../src/templates/templates.js';
import { databases, type Reply } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';

/** The limits of an account hold exactly, also when calls at the same time each find the last place free. */

describe.each(await databases())('the limits of an account on %s', (database) => {
  let core: Core;
  let sessions: string[];
  beforeAll(async () => {
    core = await startCore({ database });
    const second = await core.post('/sessions', { name: 'second' });
    sessions = [core.sessionId, (second.body.data as { id: string }).id];
  });
  afterAll(() => core?.close());

  /** Fills the account, from the one row that it has, until `free` places are left. */
  const fill = async (entity: EntityTarget<ObjectLiteral>, limit: number, free: number): Promise<void> => {
    const row = await core.rig.database.reader.getRepository(entity).findOneByOrFail({});
    const copies = Array.from({ length: limit - free - 1 }, (_, n) => ({
      ...row,
      id: newId(),
      ...(row['liveName'] ? { name: `copy ${n}`, liveName: `copy ${n}` } : {}),
    }));
    await core.rig.database.write.run((tx) => insertRows(tx, entity, copies));
  };
  const calls = {
    templates: (n: number) => core.post('/templates', { name: `t-${n}`, type: 'text', content: { message: 'Hello' } }),
    uploads: () => core.post('/media', { mediaBase64: 'R0lGODlhAQABAAAAACw=' }),
    schedules: (n: number) =>
      core.post('/schedules', {
        ...{ sessionId: sessions[n % 2], name: `s-${n}`, cron: '0 0 1 1 *' },
        message: { type: 'text', recipient: ana, message: 'Happy New Year' },
      }),
  };

  test.each([
    ['templates', Template, maxTemplates],
    ['uploads', MediaFile, maxUploads],
    ['schedules', Schedule, maxSchedules],
  ] as const)('of twelve %s at once for two places, two are stored', async (kind, entity, limit) => {
    expect((await calls[kind](0)).status).toBe(201);
    await fill(entity, limit, 2);
    const replies: Reply[] = await Promise.all(Array.from({ length: 12 }, (_, n) => calls[kind](n + 1)));
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(2);
    const refused = replies.filter(({ status }) => status !== 201);
    for (const { body } of refused)
      expect(body.error).toMatchObject({ code: 'QUOTA_EXCEEDED', details: { scope: `account.${kind}`, limit } });
    expect(await core.rig.database.reader.getRepository(entity).count()).toBe(limit);
  });
});
