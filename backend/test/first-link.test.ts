import { afterEach, describe, expect, test } from '@jest/globals';
import { resetAdmin } from '../src/accounts/reset-admin.js';
import { mountPanel } from '../src/admin/panel.js';
import type { Clock } from '../src/lib/clock.js';
import { systemClock } from '../src/lib/clock.js';
import { databases, startRig, type Rig } from './support/backend.js';

const secret = 'the secret of the installation, long enough';
const settings = { ADMIN_PASSWORD: '', JWT_SECRET: secret };
const chosen = 'a password of my own';

describe.each(await databases())('the link of the first start, on %s', (database) => {
  let rig: Rig;
  afterEach(() => rig?.close());
  const start = async (more: object = {}): Promise<string> => {
    rig = await startRig({ database, mountPanel, settings, ...more });
    return rig.firstAdmin!.linkToken!;
  };
  const open = (token: string): Promise<Response> => fetch(`${rig.url}/admin/first?token=${encodeURIComponent(token)}`);
  const choose = (token: string, next = chosen, repeat = next, more: Record<string, string> = {}): Promise<Response> =>
    fetch(`${rig.url}/admin/first`, {
      method: 'POST',
      redirect: 'manual',
      headers: { origin: rig.url, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ token, next, repeat, ...more }).toString(),
    });
  const login = (password: string) =>
    rig.call('POST', '/auth/login', { key: null, body: { email: rig.firstAdmin!.email, password } });

  test('shows two fields, sets the password, signs in, and works once', async () => {
    const token = await start();
    const page = await (await open(token)).text();
    expect([...page.matchAll(/type="password"/g)]).toHaveLength(2);
    expect(page).not.toContain(rig.firstAdmin!.password!);
    // Looking at it does not use it up.
    expect((await open(token)).status).toBe(200);
    const done = await choose(token);
    expect([done.status, done.headers.get('location')]).toEqual([303, '/admin']);
    const cookie = done.headers.get('set-cookie')!.split(';')[0]!;
    expect((await fetch(`${rig.url}/admin`, { redirect: 'manual', headers: { cookie } })).status).toBe(200);
    expect([(await open(token)).status, (await choose(token, 'another password')).status]).toEqual([410, 410]);
    expect([(await login(chosen)).status, (await login(rig.firstAdmin!.password!)).status]).toEqual([200, 401]);
    expect(rig.lines.join('\n')).not.toContain(token);
  });

  test('refuses passwords that differ or are short, and stays usable', async () => {
    const token = await start();
    expect([(await choose(token, chosen, 'a different one')).status, (await choose(token, 'short')).status]).toEqual([422, 422]);
    expect((await choose(token)).status).toBe(303);
  });

  test('sets the time zone that is chosen with the password, and asks for it once', async () => {
    const token = await start();
    const zoneOf = async (): Promise<unknown> => {
      const { timezone } = (await rig.call('GET', '/auth/me')).body.data as { timezone: string };
      return timezone;
    };
    expect(await (await open(token)).text()).toContain('name="timezone" list="timezones" value="UTC"');
    const refused = await choose(token, chosen, chosen, { timezone: 'America/Nowhere' });
    expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining('There is no such time zone.')]);
    expect((await choose(token, chosen, chosen, { timezone: 'America/Lima' })).status).toBe(303);
    expect(await zoneOf()).toBe('America/Lima');
    const { linkToken } = await resetAdmin({ database: rig.database, clock: systemClock }, null, secret);
    expect(await (await open(linkToken)).text()).not.toContain('name="timezone"');
    expect((await choose(linkToken, chosen, chosen, { timezone: 'Asia/Tokyo' })).status).toBe(303);
    expect(await zoneOf()).toBe('America/Lima');
  });

  test('two uses at once set one password', async () => {
    const token = await start();
    const answers = await Promise.all([choose(token, 'the first password'), choose(token, 'the second password')]);
    expect(answers.map(({ status }) => status).sort()).toEqual([303, 410]);
  });

  test('ends after an hour, and no part of it can be changed', async () => {
    let ahead = 0;
    const clock: Clock = { ...systemClock, now: () => new Date(Date.now() + ahead) };
    const token = await start({ clock });
    const [id, end, signature] = token.split('.') as [string, string, string];
    const later = (parseInt(end, 36) + 3_600_000).toString(36);
    for (const wrong of [`${id}.${later}.${signature}`, `${id}.${end}.${signature.slice(1)}A`, `${id}.${end}.`, id, ''])
      expect([wrong, (await open(wrong)).status]).toEqual([wrong, 410]);
    expect((await open(token)).status).toBe(200);
    ahead = 3_600_001;
    expect([(await open(token)).status, (await choose(token)).status]).toEqual([410, 410]);
  });

  test('limits guesses', async () => {
    const token = await start();
    for (let guess = 0; guess < 10; guess += 1) expect((await open(`${token}${guess}`)).status).toBe(410);
    const refused = await open(token);
    expect([refused.status, Number(refused.headers.get('retry-after')) > 0]).toEqual([429, true]);
  });

  test('is no credential of the API or of the panel', async () => {
    const token = await start();
    for (const headers of [{ authorization: `Bearer ${token}` }, { 'x-api-key': token }])
      expect((await rig.call('GET', '/auth/me', { key: null, headers })).status).toBe(401);
    const page = await fetch(`${rig.url}/admin`, { redirect: 'manual', headers: { cookie: `chasqui_panel=${token}` } });
    expect(page.headers.get('location')).toBe('/admin/login');
  });

  test('is printed again by reset-admin, after which the earlier one is void', async () => {
    const token = await start();
    const core = { database: rig.database, clock: systemClock };
    const { linkToken } = await resetAdmin(core, null, secret);
    expect([(await choose(token)).status, (await choose(linkToken)).status]).toEqual([410, 303]);
  });
});
