import { AppError, warning } from '@chasqui/shared';
import { handled, Reply } from '@chasqui/shared/express';
import QRCode from 'qrcode';
import type { Caller, Mount } from '../accounts/caller.js';
import * as contract from './contract.js';
import { presentQrText, presentStatus } from './present.js';
import type { Session } from './session.entity.js';
import type { Sessions } from './sessions.js';

export function mountSessions(mount: Mount, { sessions }: { sessions: Sessions }): void {
  /** 202 as long as there is neither a code nor an end. */
  const started = async (session: Session, caller: Caller, phoneNumber?: string) =>
    new Reply(await presentStatus(session, caller), {
      status: session.status === 'initializing' || session.status === 'connecting' ? 202 : 200,
      warnings: phoneNumber && session.status !== 'qr_pending' ? [warning('PAIRING_CODE_NOT_REQUESTED')] : [],
    });

  const stopped = async (caller: Caller, session: Session, logout: boolean) => {
    const { session: now, stale } = await sessions.stop(caller, session, logout);
    return presentStatus(now, caller, stale);
  };

  mount(contract.init, async ({ body }, caller, { header }) =>
    started(
      // A name in the body counts before the header.
      await sessions.init(caller, { ...body, sessionId: body.sessionId ?? (body.name ? undefined : header('X-Session-Id')) }),
      caller,
      body.phoneNumber,
    ),
  );
  mount(contract.status, async ({ query }, caller, { header }) => {
    const { session, stale } = await sessions.status(await sessions.which(caller, query.sessionId ?? header('X-Session-Id')));
    return presentStatus(session, caller, stale);
  });
  mount(contract.disconnect, async ({ body }, caller, { header }) =>
    stopped(caller, await sessions.which(caller, body.sessionId ?? header('X-Session-Id')), body.logout ?? false),
  );
  mount(contract.list, async ({ query }, caller) => {
    const statuses = query.status;
    const found = await sessions.list(caller.accountId);
    return found
      .filter(
        (session) => (!statuses || statuses.includes(session.status)) && (!query.search || session.name.includes(query.search)),
      )
      .map(sessions.present);
  });
  mount(contract.create, async ({ body }, caller) => sessions.present(await sessions.create(caller, body)));
  mount(contract.read, async ({ params }, caller) => sessions.present(await sessions.find(caller, params.sessionId)));
  mount(contract.update, async ({ params, body }, caller) =>
    sessions.present(await sessions.update(caller, await sessions.find(caller, params.sessionId), body)),
  );
  mount(contract.remove, async ({ params }, caller) => {
    const session = await sessions.find(caller, params.sessionId);
    await sessions.remove(caller, session);
    return { id: session.id, deleted: true as const };
  });
  mount(contract.connect, async ({ params }, caller) =>
    started(await sessions.connect(caller, await sessions.find(caller, params.sessionId)), caller),
  );
  mount(contract.qr, async ({ params, query }, caller, { res }) => {
    const session = await sessions.find(caller, params.sessionId);
    const text = presentQrText(session);
    if (!text)
      throw new AppError(
        'SESSION_STATE_CONFLICT',
        { status: session.status },
        'There is no code to show now. Start the session with POST /api/v1/sessions/init.',
      );
    res.set('Cache-Control', 'no-store');
    if (query.format === 'png')
      return (void res.type('png').send(await QRCode.toBuffer(text, { margin: 2, width: 480 })), handled);
    if (query.format === 'svg')
      return (void res.type('svg').send(await QRCode.toString(text, { type: 'svg', margin: 2 })), handled);
    return {
      qrCode: await QRCode.toDataURL(text, { margin: 2, width: 320 }),
      qrText: text,
      expiresAt: (session.qrExpiresAt ?? new Date()).toISOString(),
    };
  });
  mount(contract.pairingCode, async ({ params, body }, caller) =>
    sessions.pairingCode(caller, await sessions.find(caller, params.sessionId), body.phoneNumber),
  );
  mount(contract.stop, async ({ params, body }, caller) =>
    stopped(caller, await sessions.find(caller, params.sessionId), body.logout ?? false),
  );
  mount(contract.logout, async ({ params }, caller) => stopped(caller, await sessions.find(caller, params.sessionId), true));
  mount(contract.restart, async ({ params }, caller) =>
    presentStatus(await sessions.restart(caller, await sessions.find(caller, params.sessionId)), caller),
  );
  mount(contract.statusOf, async ({ params }, caller) => {
    const { session, stale } = await sessions.status(await sessions.find(caller, params.sessionId));
    return presentStatus(session, caller, stale);
  });
}
