import assert from 'node:assert/strict';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import type { EngineFile } from '../../../src/engine/engine.js';
import { me, png, until } from '../harness.js';
import { scenario, type Scenarios, type Stage } from './scenario.js';

const phoneOf = async ({ rig }: Stage) => (await rig.simulator.client.accounts({})).find(({ phone }) => phone === me)!;

/** A picture on the disk, as the worker has that of a request. */
export async function pictureFile({ rig }: Stage): Promise<EngineFile> {
  const path = join(rig.dir, 'picture.png');
  await writeFile(path, png);
  return { path, mimetype: 'image/png', filename: null };
}

async function withPicture(stage: Stage): Promise<string> {
  const { picture } = (await stage.session.run('profile.setPicture', {}, 5_000, await pictureFile(stage))) as { picture: string };
  return picture;
}

export const profile: Scenarios<'profile'> = {
  'profile.get': scenario('profile.get', {
    async arrange({ rig }) {
      await rig.simulator.client.setAccount({ phone: me, name: 'Shop', about: 'Open until six' });
      return { input: {}, world: null };
    },
    async verify(_stage, _world, output) {
      assert.deepEqual([output.phoneNumber, output.name, output.about], [`+${me}`, 'Shop', 'Open until six']);
    },
    line: 'about',
  }),
  'profile.setName': scenario('profile.setName', {
    async arrange({ rig, session }) {
      // Business accounts cannot, and another scenario may have made this one.
      await rig.simulator.client.setAccount({ phone: me, isBusiness: false });
      await until(
        'the page to know',
        async () => !((await session.run('profile.get', {}, 5_000)) as { isBusiness: boolean }).isBusiness,
      );
      return { input: { name: `Shop ${Date.now()}` }, world: null };
    },
    async verify(stage, _world, output) {
      assert.equal((await phoneOf(stage)).name, output.name);
      assert.match(output.name!, /^Shop \d+$/);
    },
    line: 'profile',
  }),
  'profile.setAbout': scenario('profile.setAbout', {
    async arrange() {
      const about = `Open until ${Date.now()}`;
      return { input: { about }, world: about };
    },
    async verify(stage, about, output) {
      assert.equal((await phoneOf(stage)).about, about);
      assert.equal(output.about, about);
    },
    line: 'profile',
  }),
  'profile.setPicture': scenario('profile.setPicture', {
    async arrange(stage) {
      const before = await withPicture(stage);
      return { input: {}, world: before, file: await pictureFile(stage) };
    },
    async verify(stage, before, output) {
      const { picture } = await phoneOf(stage);
      assert.ok(picture);
      assert.notEqual(picture, before);
      assert.equal(output.picture, picture);
    },
    line: 'profile',
  }),
  'profile.deletePicture': scenario('profile.deletePicture', {
    async arrange(stage) {
      assert.ok(await withPicture(stage));
      return { input: {}, world: null };
    },
    async verify(stage, _world, output) {
      assert.equal((await phoneOf(stage)).picture, null);
      assert.equal(output.picture, null);
    },
    line: 'profile',
  }),
};
