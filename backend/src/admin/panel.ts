import { AppError } from '@chasqui/shared';
import { Router, type Express, type RequestHandler } from 'express';
import { z } from 'zod';
import type { Database } from '../db/database.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import type { MessageSearch } from '../search/search.js';
import { mountAdminJS } from './adminjs.js';
import { mountAssets } from './assets.js';
import { refuseNul, refuseOtherSites, rememberVisitor, root, setHeaders, themeCookie, visitorOf } from './guard.js';
import { mendPages } from './html.js';
import { mountLogin } from './login.js';
import { mountMedia } from './media.js';
import { createOverview } from './overview.js';
import { createPanelSessions } from './panel-sessions.js';
import { answerErrors, mountRoutes, type PanelLog } from './route.js';
import { changeRoutes, readRoutes } from './routes.js';
import { mountStream } from './stream.js';
import type { PanelVerbs } from './verbs.js';

export interface PanelParts {
  database: Database;
  verbs: PanelVerbs;
  search: Pick<MessageSearch, 'find'>;
  events: Pick<Events, 'subscribe'>;
  clock: Clock;
  log: PanelLog;
  version: string;
  /** The cookie is sent over HTTPS only. */
  secureCookies: boolean;
}

export interface Panel {
  /** Ends the live views, which would hold a stopping server open. */
  close(): void;
}

/**
 * Mounts the admin panel at `/admin`. Before body parsers: the panel parses what it takes itself, after it knows who sends it.
 *
 * The order is the security: headers on every reply, refusals of other sites, public files, who it is, the login pages, and only
 * then a wall behind which everything else stands.
 */
export function mountPanel(app: Express, parts: PanelParts): Panel {
  const { database, verbs, clock, log } = parts;
  const sessions = createPanelSessions({ database, clock });
  const router = Router();
  router.use(setHeaders, refuseOtherSites, refuseNul);
  mountAssets(router);
  router.use(rememberVisitor({ database, sessions }));
  mountLogin(router, { database, sessions, verbs, secureCookies: parts.secureCookies });
  router.use(wall);

  const overview = createOverview({ reader: database.reader, clock });
  router.post('/theme', rememberTheme(parts.secureCookies));
  const closeStreams = mountStream(router, { database, sessions, events: parts.events, clock, log });
  mountMedia(router, { reader: database.reader, media: verbs.media });
  mountRoutes(router, [...readRoutes({ reader: database.reader, overview, clock }), ...changeRoutes(verbs)]);
  const adminjs = Router();
  mountAdminJS(adminjs, database.reader, parts.search, parts.version);
  router.use(mendPages, adminjs);
  router.use(unknown);
  router.use(answerErrors(log));
  app.use(root, router);
  return { close: closeStreams };
}

/** Refuses requests without a login, and logins with a one-time password. Programs get a code, people the page they need. */
const wall: RequestHandler = (req, res, next) => {
  const visitor = visitorOf(req);
  if (visitor && !visitor.account.mustChangePassword) return next();
  const isPage = req.method === 'GET' && !req.path.startsWith('/live/');
  if (isPage) return res.redirect(302, visitor ? `${root}/password` : `${root}/login`);
  next(
    visitor
      ? new AppError('PASSWORD_CHANGE_REQUIRED', {}, 'Change your one-time password first.')
      : new AppError('UNAUTHENTICATED', {}, 'Sign in to the panel.'),
  );
};

const year = 365 * 86_400_000;
const rememberTheme =
  (secure: boolean): RequestHandler =>
  (req, res, next) => {
    const theme = z.enum(['light', 'dark']).safeParse(req.query['theme']);
    if (!theme.success) return next(new AppError('VALIDATION_FAILED'));
    res.cookie(themeCookie, theme.data, { httpOnly: true, sameSite: 'strict', secure, path: root, maxAge: year });
    res.json({ data: { theme: theme.data } });
  };

const unknown: RequestHandler = (req, _res, next) => {
  next(new AppError(req.method === 'GET' ? 'ROUTE_NOT_FOUND' : 'METHOD_NOT_ALLOWED'));
};
