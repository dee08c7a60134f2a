import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '@chasqui/shared';
import { insertRow } from '../src/db/rows.js';
import { systemClock } from '../src/lib/clock.js';
import { createMedia } from '../src/media/media.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import { archivePath, exportContact, type Exporting } from '../src/privacy/export.js';
import { createPages } from '../src/privacy/pages.js';
import { createPrivacy } from '../src/privacy/privacy.js';
import { PrivacyRequest } from '../src/privacy/privacy-request.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { ana, startCore, type Core } from './support/core.js';

/** The files of exports: those that are deleted while an archive is written, and those that no request names any more. */

let core: Core;
let dir: string;
beforeAll(async () => {
  core = await startCore();
  dir = await mkdtemp(join(tmpdir(), 'chasqui-export-'));
  for (const name of ['one.gif', 'two.gif', 'three.gif'])
    expect(
      (await core.post('/messages/send-media', { recipient: ana, mediaBase64: 'R0lGODlhAQABAAAAACw=', filename: name })).status,
    ).toBe(200);
});
afterAll(async () => {
  await core?.close();
  await rm(dir, { recursive: true, force: true });
});

const unused = undefined as never;

async function exportWith(
  atFile: (path: string, number: number) => void,
): Promise<{ counts: Record<string, number>; id: string }> {
  const { database } = core.rig;
  const media = createMedia(
    { database, clock: systemClock },
    { dir: join(core.rig.dataDir, 'media'), maxBytes: 1, allowed: ['*'], convert: unused, safeFetch: unused, sealer: unused },
  );
  let number = 0;
  const pathOf = (id: string): string => {
    const path = media.pathOf(id);
    atFile(path, (number += 1));
    return path;
  };
  const nobody = { stored: async () => [] };
  const context = {
    ...{ database, dir, report: () => undefined, contacts: nobody, optOuts: nobody, bulk: nobody, media: { pathOf } },
    thumbnails: createThumbnails({ database }),
    pages: createPages(database, nobody as never),
    ...{ messages: { present: async (rows: object[]) => rows }, schedules: { ofPerson: async () => [] } },
  } as unknown as Exporting;
  const { accountId } = await database.reader.getRepository(Session).findOneByOrFail({});
  const request = Object.assign(new PrivacyRequest(), {
    ...{ id: newId(), accountId, kind: 'export', status: 'running', contact: `+${ana}`, forms: null, counts: {}, owner: null },
    ...{ createdAt: new Date(), startedAt: null, finishedAt: null, expiresAt: null },
  });
  await database.write.run((tx) => insertRow(tx, PrivacyRequest, request));
  return { counts: await exportContact(context, request), id: request.id };
}

test('a file that disappears while the archive is written is left out of it, and the others are in it', async () => {
  let first = '';
  const { counts, id } = await exportWith((path, number) => {
    if (number === 1) first = path;
    if (number === 3) rmSync(first);
  });
  expect(existsSync(first)).toBe(false);
  expect(counts).toMatchObject({ messages: 3, files: 2 });
  const zip = await readFile(archivePath(dir, id));
  expect(zip.subarray(0, 2).toString()).toBe('PK');
  expect(zip.toString('latin1').match(/media\/[\w-]+\.gif/g)!.length).toBe(4);
});

test('files of exports that expired, failed or belong to no request are deleted, and those of others stay', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-exports-'));
  const { database } = core.rig;
  const { accountId } = await database.reader.getRepository(Session).findOneByOrFail({});
  const [past, later] = [new Date(Date.now() - 1), new Date(Date.now() + 60_000)];
  const rows: [isKept: boolean, row: Partial<PrivacyRequest> | null][] = [
    [true, { status: 'queued' }],
    [true, { status: 'running' }],
    [true, { status: 'done', expiresAt: later }],
    [false, { status: 'done', expiresAt: past }],
    [false, { status: 'failed' }],
    [false, null],
  ];
  const unfinished = { forms: null, startedAt: null, finishedAt: null, expiresAt: null, owner: 'another backend' };
  const common = { accountId, kind: 'export' as const, contact: `+${ana}`, counts: {}, createdAt: new Date(), ...unfinished };
  const kept: string[] = [];
  for (const [isKept, row] of rows) {
    const id = newId();
    if (row) await database.write.run((tx) => insertRow(tx, PrivacyRequest, { ...common, id, ...row }));
    for (const name of [`${id}.zip`, `${id}.messages.part`, `${id}.opt-outs.part`]) {
      await writeFile(join(folder, name), 'what was exported');
      if (isKept) kept.push(name);
    }
  }
  await writeFile(join(folder, 'of a person.txt'), 'not ours');
  const privacy = createPrivacy({ database, clock: systemClock } as never, { dir: folder } as never);
  await privacy.prune();
  expect((await readdir(folder)).sort()).toEqual([...kept, 'of a person.txt'].sort());
  await rm(folder, { recursive: true });
  await privacy.prune();
});

test('parts that disappear again and again end the export with an error, not the process', async () => {
  await expect(exportWith(() => rmSync(dir, { recursive: true, force: true }))).rejects.toMatchObject({ code: 'ENOENT' });
});
