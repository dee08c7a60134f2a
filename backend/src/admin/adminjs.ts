import AdminJS, { Router as AdminRouter, type AdminJSOptions, type ResourceOptions } from 'adminjs';
import { buildRoutes } from '@adminjs/express';
import type { RequestHandler, Router } from 'express';
import type { DataSource } from 'typeorm';
import { root, themeOf, visitorOf, type Theme } from './guard.js';
import { PanelResource } from './resource.js';
import { tables, type TableView } from './tables.js';
import { themeOverrides } from './themes.js';
import type { MessageSearch } from '../search/search.js';

/** The signed-in person as AdminJS knows it. AdminJS writes it into the page, so it contains nothing that the person may not read. */
interface Admin {
  id: string;
  email: string;
  title: string;
  role: 'staff' | 'admin';
  username: string;
  colours: Theme;
}

/** The pages that are no table: the label, the component and the icon of each, by its path below `/pages`. */
const pages: Readonly<Record<string, { label: string; component: string; icon: string }>> = {
  schedules: { label: 'Schedules', component: 'SchedulesPage', icon: 'Calendar' },
  deliveries: { label: 'Deliveries', component: 'DeliveriesPage', icon: 'Repeat' },
  events: { label: 'Events', component: 'EventsPage', icon: 'Activity' },
  workers: { label: 'Workers', component: 'WorkersPage', icon: 'Cpu' },
  jobs: { label: 'Jobs', component: 'JobsPage', icon: 'Clock' },
  errors: { label: 'Errors', component: 'ErrorsPage', icon: 'XOctagon' },
  backups: { label: 'Backups', component: 'BackupsPage', icon: 'Archive' },
  capabilities: { label: 'Capabilities', component: 'CapabilitiesPage', icon: 'CheckSquare' },
  privacy: { label: 'Privacy requests', component: 'PrivacyPage', icon: 'Shield' },
  usage: { label: 'Usage', component: 'UsagePage', icon: 'BarChart2' },
};
const pageLabels = Object.fromEntries(Object.entries(pages).map(([path, { label }]) => [path, label]));

const never = { isAccessible: false, isVisible: false };
const asAdmin = (admin: unknown): Admin | undefined => admin as Admin | undefined;

function optionsOf(view: TableView): ResourceOptions {
  const names = (matches: (field: TableView['fields'][number]) => unknown) =>
    view.fields.filter(matches).map((field) => field.name);
  return {
    id: view.id,
    navigation: { name: view.group, icon: view.icon },
    titleProperty: view.title,
    listProperties: names((field) => field.inList),
    showProperties: names(() => true),
    filterProperties: names((field) => field.filter),
    editProperties: [],
    sort: { sortBy: view.order.by, direction: view.order.direction },
    properties: Object.fromEntries(
      view.fields.map((field) => [field.name, { custom: { look: field.look, filter: field.filter } }]),
    ),
    actions: {
      list: { hideActionHeader: true },
      show: { component: view.page, hideActionHeader: true },
      search: never,
      new: view.create
        ? {
            component: view.create.component,
            hideActionHeader: true,
            // AdminJS calls this for the button and the page. The change itself is one of our routes, with its own check.
            isAccessible: ({ currentAdmin }) => view.create?.role !== 'admin' || asAdmin(currentAdmin)?.role === 'admin',
          }
        : never,
      edit: never,
      delete: never,
      bulkDelete: never,
    },
  };
}

/** AdminJS's own sentences that a person may see. Its defaults name the console of the browser and the ids of tables. */
const messages = {
  errorFetchingRecords: 'The list could not be read. What you see stays, and is read again when the server answers.',
  errorFetchingRecord: 'The page could not be read. Open it again in a moment.',
  error404Resource: 'The address may be old. Choose a page on the left.',
  error404Action: 'The address may be old, or your role may not do this. Choose a page on the left, or ask an admin.',
  error404Record: 'It was deleted, or the address is wrong. Look for it in its list.',
  pageNotFound_title: 'There is no such page',
  pageNotFound_subtitle: 'The address may be old. Choose a page on the left.',
  componentNotFound_title: 'This page cannot be shown',
  componentNotFound_subtitle:
    'Load it again. If that does not help, the panel and the backend may be of different versions: build again.',
  noActionComponent: 'This page cannot be shown. Load it again.',
  forbiddenError: 'Your role may not do this. Ask an admin.',
  anyForbiddenError: 'Your role may not do this. Ask an admin.',
  seeConsoleForMore: 'Load the page again. If that does not help, tell your operator what you did.',
};

function locale(): NonNullable<AdminJSOptions['locale']> {
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
        labels: {
          ...labels,
          ...pageLabels,
          navigation: 'Navigation',
          pages: 'System',
        },
        pages: pageLabels,
        messages,
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
      theme: themeOverrides(asAdmin(admin)?.colours ?? 'auto'),
    }),
    version: { app: version, admin: false },
    settings: { defaultPerPage: 25 },
    locale: locale(),
    dashboard: { component: 'Dashboard' },
    pages: Object.fromEntries(Object.entries(pages).map(([path, { component, icon }]) => [path, { component, icon }])),
    resources: tables.map((view) => ({ resource: new PanelResource(view, reader, search), options: optionsOf(view) })),
  });
}

/**
 * Mounts the pages and reads of AdminJS, and nothing else of it. Its POST routes are left out: they write uploads to the disk before the sender
 * is known, and store everything that is posted. `AdminJS.initialize()` is never called, so that the server bundles nothing in any environment;
 * bundle.mjs makes the bundle when the product is built.
 */
export function mountAdminJS(router: Router, reader: DataSource, search: Pick<MessageSearch, 'find'>, version: string): void {
  const admin = buildAdmin(reader, search, version);
  router.use(skipUnusedPaths, sanitizeQuery, setAdminUser);
  const routes = AdminRouter.routes.filter((route) => route.method === 'GET' && route.action !== 'bundleComponents');
  buildRoutes({ admin, routes, router: router as Parameters<typeof buildRoutes>[0]['router'] });
}

const table = `(${tables.map((view) => view.id).join('|')})`;
/** The AdminJS paths that the panel uses. AdminJS throws an unexpected error at an unknown path, and serves more paths than the panel needs. */
const usedPaths = [
  '/',
  `/resources/${table}`,
  `/resources/${table}/actions/new`,
  `/resources/${table}/records/[^/]+/show`,
  `/pages/(${Object.keys(pages).join('|')})`,
  '/api/dashboard',
  `/api/resources/${table}/actions/list`,
  `/api/resources/${table}/records/[^/]+/show`,
].map((path) => new RegExp(`^${path}/?$`));

const skipUnusedPaths: RequestHandler = (req, _res, next) =>
  next(usedPaths.some((path) => path.test(req.path)) ? undefined : 'router');

/** The query parameters of a list and their forms. A page number has so few digits that the database can skip as many rows. */
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
 * Removes every query parameter that no list of the panel sends. AdminJS turns names with dots into objects and lists of any depth and length,
 * accepts any number, and passes the result to the database.
 */
export const sanitizeQuery: RequestHandler = (req, _res, next) => {
  const query: Record<string, string> = {};
  for (const [name, form] of Object.entries(parameters)) {
    const [value] = [req.query[name]].flat();
    if (typeof value === 'string' && form.test(value)) query[name] = value;
  }
  Object.defineProperty(req, 'query', { value: query });
  next();
};

/** Sets `req.session`, where AdminJS reads the signed-in person. It exists for this request alone and is not stored. */
const setAdminUser: RequestHandler = (req, _res, next) => {
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
