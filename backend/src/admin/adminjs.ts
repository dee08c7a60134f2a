import AdminJS, { Router as AdminRouter, type AdminJSOptions, type ResourceOptions } from 'adminjs';
import { buildRoutes } from '@adminjs/express';
import type { RequestHandler, Router } from 'express';
import type { DataSource } from 'typeorm';
import { root, themeOf, visitorOf, type Theme } from './guard.js';
import { PanelResource } from './resource.js';
import { tables, type TableView } from './tables.js';
import { themeOverrides } from './themes.js';
import type { MessageSearch } from '../search/search.js';

/** Who AdminJS takes to be signed in. It reaches the page's state, so it holds nothing that the person may not read. */
interface Admin {
  id: string;
  email: string;
  title: string;
  role: 'staff' | 'admin';
  username: string;
  colours: Theme;
}

const never = { isAccessible: false, isVisible: false };
const asAdmin = (admin: unknown): Admin | undefined => admin as Admin | undefined;

function optionsOf(view: TableView): ResourceOptions {
  const names = (keep: (field: TableView['fields'][number]) => unknown) => view.fields.filter(keep).map((field) => field.name);
  return {
    id: view.id,
    navigation: { name: view.group, icon: view.icon },
    titleProperty: view.title,
    listProperties: names((field) => field.inList),
    showProperties: names(() => true),
    filterProperties: names((field) => field.filter),
    editProperties: [],
    sort: { sortBy: view.order.by, direction: view.order.direction },
    properties: Object.fromEntries(view.fields.map((field) => [field.name, { custom: { look: field.look } }])),
    actions: {
      list: { hideActionHeader: true },
      show: { component: view.page, hideActionHeader: true },
      search: never,
      new: view.create
        ? {
            component: view.create.component,
            hideActionHeader: true,
            // AdminJS asks this for the button and the page; the change itself is a route of ours with its own check.
            isAccessible: ({ currentAdmin }) => view.create?.role !== 'admin' || asAdmin(currentAdmin)?.role === 'admin',
          }
        : never,
      edit: never,
      delete: never,
      bulkDelete: never,
    },
  };
}

function words(): NonNullable<AdminJSOptions['locale']> {
  const resources = Object.fromEntries(
    tables.map((view) => [
      view.id,
      {
        properties: Object.fromEntries(view.fields.map((field) => [field.name, field.label])),
        actions: { list: view.plural, show: view.singular, new: view.create?.label ?? view.singular },
      },
    ]),
  );
  const labels = Object.fromEntries(tables.map((view) => [view.id, view.plural]));
  return {
    language: 'en',
    availableLanguages: ['en'],
    translations: {
      en: {
        labels: { ...labels, events: 'Events', workers: 'Workers', navigation: 'Navigation', pages: 'System' },
        pages: { events: 'Events', workers: 'Workers' },
        buttons: { filter: 'Filter', applyChanges: 'Apply', resetFilter: 'Clear' },
        resources,
      },
    },
  } as NonNullable<AdminJSOptions['locale']>;
}

function buildAdmin(reader: DataSource, search: Pick<MessageSearch, 'find'>, version: string): AdminJS {
  return new AdminJS({
    rootPath: root,
    loginPath: `${root}/login`,
    logoutPath: `${root}/logout`,
    branding: (admin) => ({
      companyName: 'Chasqui',
      logo: false,
      favicon: `${root}/static/favicon.svg`,
      withMadeWithLove: false,
      theme: themeOverrides(asAdmin(admin)?.colours ?? 'light'),
    }),
    version: { app: version, admin: false },
    settings: { defaultPerPage: 25 },
    locale: words(),
    dashboard: { component: 'Dashboard' },
    pages: { events: { component: 'EventsPage', icon: 'Activity' }, workers: { component: 'WorkersPage', icon: 'Cpu' } },
    resources: tables.map((view) => ({ resource: new PanelResource(view, reader, search), options: optionsOf(view) })),
  });
}

/**
 * Mounts AdminJS's pages and reads, and nothing else of it. Its POST routes are left out: they parse uploads to disk before anybody
 * is known and write whatever is posted. `AdminJS.initialize()` is never called, so nothing is bundled while the server runs, in no
 * environment; the bundle is made by bundle.mjs when the product is built.
 */
export function mountAdminJS(router: Router, reader: DataSource, search: Pick<MessageSearch, 'find'>, version: string): void {
  const admin = buildAdmin(reader, search, version);
  router.use(onlyKnown, plainQuery, nameAdmin);
  const routes = AdminRouter.routes.filter((route) => route.method === 'GET' && route.action !== 'bundleComponents');
  buildRoutes({ admin, routes, router: router as Parameters<typeof buildRoutes>[0]['router'] });
}

const table = `(${tables.map((view) => view.id).join('|')})`;
/** What of AdminJS is used. It throws, as for a bug, at what it does not know, and knows more than the panel needs. */
const known = [
  '/',
  `/resources/${table}`,
  `/resources/${table}/actions/new`,
  `/resources/${table}/records/[^/]+/show`,
  '/pages/(events|workers)',
  '/api/dashboard',
  `/api/resources/${table}/actions/list`,
  `/api/resources/${table}/records/[^/]+/show`,
].map((path) => new RegExp(`^${path}/?$`));

const onlyKnown: RequestHandler = (req, _res, next) => next(known.some((path) => path.test(req.path)) ? undefined : 'router');

/** The parameters of a list, by name. A whole number has so few digits that the database can skip as many rows. */
const parameters: Record<string, RegExp> = {
  page: /^[1-9]\d{0,6}$/,
  perPage: /^(100|[1-9]\d?)$/,
  sortBy: /^[A-Za-z]{1,64}$/,
  direction: /^(asc|desc)$/,
  ...Object.fromEntries(
    tables
      .flatMap((view) => view.fields)
      .flatMap(({ name, filter }) => (filter === 'range' ? [`${name}~~from`, `${name}~~to`] : filter ? [name] : []))
      .map((name) => [`filters.${name}`, /./]),
  ),
};

/**
 * Leaves of the query what a list of the panel sends. AdminJS makes objects and lists of names with dots, of any depth and length, takes any
 * number, and hands to the database what it makes of them.
 */
const plainQuery: RequestHandler = (req, _res, next) => {
  const query: Record<string, string> = {};
  for (const [name, form] of Object.entries(parameters)) {
    const [value] = [req.query[name]].flat();
    if (typeof value === 'string' && form.test(value)) query[name] = value;
  }
  Object.defineProperty(req, 'query', { value: query });
  next();
};

/** AdminJS looks for who is signed in on `req.session`, which is there for this request alone and stored nowhere. */
const nameAdmin: RequestHandler = (req, _res, next) => {
  const visitor = visitorOf(req);
  if (visitor) {
    const { id, username, email, role } = visitor.account;
    const adminUser: Admin = {
      id,
      email,
      username,
      role: role === 'admin' ? 'admin' : 'staff',
      title: role,
      colours: themeOf(req),
    };
    Object.assign(req, { session: { adminUser } });
  }
  next();
};
