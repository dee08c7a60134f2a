import type { AnyRoute } from '../route.js';
import { parameterExampleOf, requestExamplesOf, type About } from './document.js';
import { exampleOf } from './example.js';
import { jsonSchemaOf, type Json } from './schema.js';

/** The format, from https://schema.getpostman.com/json/collection/v2.1.0/docs/index.html. Postman, Bruno, Insomnia and Hoppscotch import it. */
const format = 'https://schema.getpostman.com/json/collection/v2.1.0/collection.json';

/**
 * Returns a Postman collection (version 2.1) of a list of routes: one folder for each group of routes, one request for each route with its first
 * example. The variables `baseUrl` and `apiKey` belong to the collection, so that a person fills in the key once. Pure.
 */
export function postmanCollection(routes: readonly AnyRoute[], about: Pick<About, 'title' | 'description' | 'base'>): Json {
  const folders = new Map<string, Json[]>();
  for (const route of routes) {
    const group = route.id.split('.')[0]!;
    folders.set(group, [...(folders.get(group) ?? []), requestOf(route)]);
  }
  return {
    info: { name: about.title, description: about.description, schema: format },
    auth: {
      type: 'apikey',
      apikey: [
        { key: 'key', value: 'X-API-Key', type: 'string' },
        { key: 'value', value: '{{apiKey}}', type: 'string' },
        { key: 'in', value: 'header', type: 'string' },
      ],
    },
    variable: [
      { key: 'baseUrl', value: about.base },
      { key: 'apiKey', value: '' },
    ],
    item: [...folders].map(([name, item]) => ({ name, item })),
  };
}

function requestOf(route: AnyRoute): Json {
  const path = route.path.split('/').filter((part) => part !== '');
  const query = optionalParameters(route);
  const hasBody = route.consumes !== 'none';
  const [example] = Object.values(hasBody ? requestExamplesOf(route) : {});
  return {
    name: route.summary,
    request: {
      method: route.method.toUpperCase(),
      ...(route.auth === 'pub' ? { auth: { type: 'noauth' } } : {}),
      header: [
        ...(hasBody ? [{ key: 'Content-Type', value: 'application/json' }] : []),
        ...route.headers.map((key) => ({ key, value: '', disabled: true })),
      ],
      url: {
        raw: ['{{baseUrl}}', ...path].join('/'),
        host: ['{{baseUrl}}'],
        path,
        ...(query.length > 0 ? { query } : {}),
        variable: pathVariables(route),
      },
      ...(hasBody
        ? { body: { mode: 'raw', raw: JSON.stringify(example, null, 2), options: { raw: { language: 'json' } } } }
        : {}),
    },
  };
}

function pathVariables(route: AnyRoute): Json[] {
  const samples = exampleOf(route.params, 'input') as Json;
  const names = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => name!);
  return names.map((key) => ({ key, value: String(parameterExampleOf(route, key, samples[key])) }));
}

/** The query of a route. What the route does not require is switched off, because a filter of an example finds nothing. */
function optionalParameters(route: AnyRoute): Json[] {
  const schema = jsonSchemaOf(route.query, 'input') as { properties?: Record<string, Json>; required?: string[] };
  const samples = exampleOf(route.query, 'input') as Json;
  return Object.entries(schema.properties ?? {}).map(([key, { description }]) => ({
    key,
    value: samples[key] === undefined ? '' : String(samples[key]),
    ...(description === undefined ? {} : { description }),
    ...(schema.required?.includes(key) ? {} : { disabled: true }),
  }));
}
