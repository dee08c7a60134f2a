import { AppError } from '@chasqui/shared';
import { Router, type Express, type RequestHandler } from 'express';
import { z } from 'zod';
import type { Database } from '../db/database.js';
import type { Events } from '../events/events.js';
import type { Jobs } from '../jobs/jobs.js';
import type { Clock } from '../lib/clock.js';
import type { MessageSearch } from '../search/search.js';
import type { Statistics } from '../statistics/statistics.js';
import type { Backups } from '../backups/backups.js';
import { mountAdminJS } from './adminjs.js';
import { mountAssets } from './assets.js';
import { refuseNul, refuseOtherSites, identifyVisitor, root, setHeaders, themeCookie, visitorOf } from './guard.js';
import { backupRoutes, mountBackupFile } from './backup-routes.js';
import { patchPages, plainPage } from './html.js';
import { jobRoutes } from './job-routes.js';
import { mountFirstPassword } from './first-password.js';
import { cookieOptions, mountLogin } from './login.js';
import { mountMedia } from './media.js';
import type { OverviewReader } from './overview.js';
import { mountPrivacyFile, privacyRoutes } from './privacy-routes.js';
import { mountListCsv } from './list-csv.js';
import { createPanelSessions } from './panel-sessions.js';
import { answerErrors, mountRoutes, type PanelLog } from './route.js';
import { changeRoutes, readRoutes, type BulkReader } from './routes.js';
import { mountStream } from './stream.js';
import type { PanelVerbs } from './verbs.js';

export interface PanelParts {
  database: Database;
  verbs: PanelVerbs;
  search: Pick<MessageSearch, 'find'>;
  bulk: BulkReader;
  jobs: Jobs;
  statistics: Pick<Statistics, 'forStaff'>;
  overview: OverviewReader;
  backups: Pick<Backups, 'list' | 'health'>;
  events: Pick<Events, 'subscribe'>;
  clock: Clock;
  log: PanelLog;
  version: string;
  /** The cookie is sent over HTTPS only. */
  secureCookies: boolean;
}

export interface Panel {
  /** Ends the live views, which would otherwise delay the stop of the server. */
  close(): void;
}

/**
 * Mounts the admin panel at `/admin`. It must be mounted before the body parsers: the panel parses bodies itself, after it has identified the
 * sender.
 *
 * The order of the handlers is a security rule: headers for every reply, refusals of other sites, public files, the identification of the
 * person, the login pages, and then the check that refuses everything else without a login.
 */
export function mountPanel(app: Express, parts: PanelParts): Panel {
  const { database, verbs, clock, log } = parts;
  const sessions = createPanelSessions({ database, clock });
  const router = Router();
  router.use(setHeaders, refuseOtherSites, refuseNul);
  mountAssets(router);
  router.use(identifyVisitor({ database, sessions }));
  const login = { database, sessions, verbs, secureCookies: parts.secureCookies };
  mountLogin(router, login);
  mountFirstPassword(router, login, cookieOptions(parts.secureCookies));
  router.use(requireLogin);

  router.post('/theme', setTheme(parts.secureCookies));
  const closeStreams = mountStream(router, { database, sessions, events: parts.events, clock, log });
  mountBackupFile(router, verbs.backups);
  mountPrivacyFile(router, verbs.privacy);
  mountListCsv(router, { reader: database.reader, search: parts.search, lists: verbs.lists });
  mountMedia(router, { reader: database.reader, media: verbs.media });
  mountRoutes(router, [
    ...readRoutes({
      reader: database.reader,
      overview: parts.overview,
      clock,
      bulk: parts.bulk,
      statistics: parts.statistics,
      search: parts.search,
      webhooks: verbs.webhooks,
    }),
    ...changeRoutes(verbs),
    ...jobRoutes(parts.jobs),
    ...backupRoutes(parts.backups, verbs.backups),
    ...privacyRoutes(database.reader, clock, verbs.privacy),
  ]);
  const adminjs = Router();
  mountAdminJS(adminjs, database.reader, parts.search, parts.version);
  router.use(patchPages, adminjs);
  router.use(refuseUnknown);
  router.use(answerErrors(log));
  app.use(root, router);
  return { close: closeStreams };
}

/** Refuses requests without a login, and logins with a one-time password. Programs receive an error code, people the page that they need. */
const requireLogin: RequestHandler = (req, res, next) => {
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
const setTheme =
  (secure: boolean): RequestHandler =>
  (req, res, next) => {
    const theme = z.enum(['light', 'dark']).safeParse(req.query['theme']);
    if (!theme.success) return next(new AppError('VALIDATION_FAILED'));
    res.cookie(themeCookie, theme.data, { httpOnly: true, sameSite: 'strict', secure, path: root, maxAge: year });
    res.json({ data: { theme: theme.data } });
  };

const refuseUnknown: RequestHandler = (req, res, next) => {
  if (req.method === 'GET' && req.accepts(['json', 'html']) === 'html')
    return void res.status(404).send(
      plainPage(
        req,
        'Not found',
        `<h1>There is no such page</h1>
    <p class="lead">The address may be old, or the object was deleted.</p>
    <p><a href="${root}">Overview</a> · <a href="${root}/resources/sessions">Sessions</a> · <a href="${root}/resources/messages">Messages</a></p>`,
      ),
    );
  next(new AppError(req.method === 'GET' ? 'ROUTE_NOT_FOUND' : 'METHOD_NOT_ALLOWED'));
};
