import { AppError, warning } from '@chasqui/shared';
import { handled, Reply } from '@chasqui/shared/express';
import type { Response } from 'express';
import QRCode from 'qrcode';
import type { Caller, Mount } from '../accounts/caller.js';
import * as contract from './contract.js';
import { signingScript } from './passkeys.js';
import { drawQr, presentQrText, presentStatus } from './present.js';
import type { SessionStatusReply } from './running.js';
import type { Session } from './session.entity.js';
import type { Sessions } from './sessions.js';

/** Mounts the routes of sessions. The order counts: `/sessions/status` comes before `/sessions/:sessionId`. */
export function mountSessions(mount: Mount, { sessions }: { sessions: Sessions }): void {
  mountResolved(mount, sessions);
  mountList(mount, sessions);
  mountRunning(mount, sessions);
}

/** Mounts the routes without a session in their path. The body, the header, the key or the default determines the session. */
function mountResolved(mount: Mount, sessions: Sessions): void {
  mount(contract.init, async ({ body }, caller, { header }) => {
    // A name in the body takes precedence over the header.
    const sessionId = body.sessionId ?? (body.name ? undefined : header('X-Session-Id'));
    return startReply(await sessions.init(caller, { ...body, sessionId }), caller, body.phoneNumber);
  });
  mount(contract.status, async ({ query }, caller, { header }) => {
    const session = await sessions.resolve(caller, query.sessionId ?? header('X-Session-Id'));
    return statusReply(await sessions.status(session), caller);
  });
  mount(contract.disconnect, async ({ body }, caller, { header }) => {
    const session = await sessions.resolve(caller, body.sessionId ?? header('X-Session-Id'));
    return statusReply(await sessions.stop(caller, session, body.logout ?? false), caller);
  });
}

function mountList(mount: Mount, sessions: Sessions): void {
  mount(contract.list, async ({ query }, caller) => {
    const statuses = query.status;
    const found = await sessions.list(caller.accountId);
    return found
      .filter(
        (session) => (!statuses || statuses.includes(session.status)) && (!query.search || session.name.includes(query.search)),
      )
      .map(sessions.present);
  });
  mount(contract.read, async ({ params }, caller) => sessions.present(await sessions.find(caller, params.sessionId)));
  mount(contract.update, async ({ params, body }, caller) =>
    sessions.present(await sessions.update(caller, await sessions.find(caller, params.sessionId), body)),
  );
  mount(contract.remove, async ({ params }, caller) => {
    const session = await sessions.find(caller, params.sessionId);
    await sessions.remove(caller, session);
    return { id: session.id, deleted: true as const };
  });
}

function mountRunning(mount: Mount, sessions: Sessions): void {
  mount(contract.connect, async ({ params }, caller) =>
    startReply(await sessions.connect(caller, await sessions.find(caller, params.sessionId)), caller),
  );
  mount(contract.qr, async ({ params, query }, caller, { res }) =>
    qrReply(await sessions.find(caller, params.sessionId), query.format, res),
  );
  mount(contract.pairingCode, async ({ params, body }, caller) =>
    sessions.pairingCode(caller, await sessions.find(caller, params.sessionId), body.phoneNumber),
  );
  mount(contract.passkey, async ({ params, query }, caller, { res }) => {
    const waiting = await sessions.passkey(await sessions.find(caller, params.sessionId));
    res.set('Cache-Control', 'no-store');
    if (query.format === 'json') return waiting;
    res.type('text/javascript').send(signingScript(waiting));
    return handled;
  });
  mount(contract.answerPasskey, async ({ params, body }, caller) => {
    await sessions.answerPasskey(caller, await sessions.find(caller, params.sessionId), body);
    return { answered: true as const };
  });
  mount(contract.stop, async ({ params, body }, caller) => {
    const session = await sessions.find(caller, params.sessionId);
    return statusReply(await sessions.stop(caller, session, body.logout ?? false), caller);
  });
  mount(contract.logout, async ({ params }, caller) =>
    statusReply(await sessions.stop(caller, await sessions.find(caller, params.sessionId), true), caller),
  );
  mount(contract.restart, async ({ params }, caller) =>
    presentStatus(await sessions.restart(caller, await sessions.find(caller, params.sessionId)), caller),
  );
  mount(contract.health, async ({ params }, caller) => sessions.health(await sessions.find(caller, params.sessionId)));
  mount(contract.unthrottle, async ({ params }, caller) =>
    sessions.unthrottle(caller, await sessions.find(caller, params.sessionId)),
  );
  mount(contract.metrics, async ({ params }, caller) => sessions.metrics(await sessions.find(caller, params.sessionId)));
  mount(contract.statusOf, async ({ params }, caller) =>
    statusReply(await sessions.status(await sessions.find(caller, params.sessionId)), caller),
  );
}

/** Replies to a start: with 202 while there is neither a QR code nor a final result. */
const startReply = async (session: Session, caller: Caller, phoneNumber?: string) =>
  new Reply(await presentStatus(session, caller), {
    status: session.status === 'initializing' || session.status === 'connecting' ? 202 : 200,
    warnings: phoneNumber && session.status !== 'qr_pending' ? [warning('PAIRING_CODE_NOT_REQUESTED')] : [],
  });

const statusReply = ({ session, stale }: SessionStatusReply, caller: Caller) => presentStatus(session, caller, stale);

async function qrReply(session: Session, format: 'json' | 'png' | 'svg' | 'terminal', res: Response) {
  const text = presentQrText(session);
  if (!text)
    throw new AppError(
      'SESSION_STATE_CONFLICT',
      { status: session.status },
      session.status === 'connected'
        ? 'The session is linked already and needs no QR code. Messages can be sent.'
        : 'There is no QR code to show now. Start the session with POST /api/v1/sessions/init.',
    );
  res.set('Cache-Control', 'no-store');
  if (format === 'png') {
    res.type('png').send(await QRCode.toBuffer(text, { margin: 2, width: 480 }));
    return handled;
  }
  if (format === 'svg') {
    res.type('svg').send(await QRCode.toString(text, { type: 'svg', margin: 2 }));
    return handled;
  }
  if (format === 'terminal') {
    // Black and white by their own codes: it can be scanned on dark and on light terminals.
    res.type('text/plain').send(`${await QRCode.toString(text, { type: 'terminal', small: true, margin: 2 })}\n`);
    return handled;
  }
  return { qrCode: await drawQr(text), qrText: text, expiresAt: (session.qrExpiresAt ?? new Date()).toISOString() };
}
