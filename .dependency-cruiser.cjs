/**
 * Who may import whom (docs/architecture.md). Tests are held to the same rules between the packages, but may use the simulator and bench.
 */
const test = '\\.test\\.ts$|/test/';
const domains =
  'accounts|audit|bulk|contacts|sessions|messages|media|events|search|statistics|webhooks|privacy|failures|opt-outs|templates';

/** The files through which one domain may reach another: its `<nouns>.ts`, its contract, its tables' shapes. Plans, keys, tokens, callers and credentials are nouns of `accounts` too; the log is one of `events`. */
const doors = `^backend/src/(${domains})/(\\1|contract)\\.ts$|^backend/src/(accounts/(api-keys|browser-sessions|caller|credential|credential-ref|plans|tokens)|audit/audit|contacts/(forms|lookup|people|spellings)|events/log|media/thumbnails|messages/(state|conversations/track|accept/(file-options|idempotency|stored-replies)|quotas/(periods|quotas)|recurring/(present|schedules)|sealed-content|send/(lanes|linked-account)|usage/counts)|opt-outs/keywords|search/store|sessions/(quiet-hours|restrictions|storage-mode|throttle)|templates/render)\\.ts$|^backend/src/(${domains})/[^.]+\\.entity\\.ts$`;

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment:
        'Files that import each other in a circle have no order in which they can be understood. Imports of types count too.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment:
        'An import that leads nowhere, or to a package that this package does not declare. What the panel imports is on the page as a global.',
      severity: 'error',
      from: { pathNot: `${test}|^backend/panel/` },
      to: { dependencyTypes: ['npm-no-pkg', 'unknown'] },
    },
    {
      name: 'shared-stands-alone',
      comment: 'The contract does no I/O. It imports only zod, libphonenumber-js and hashing.',
      severity: 'error',
      from: {
        path: '^shared/src',
        pathNot: `${test}|^shared/src/(body|connection-room|egress|express|http-server|fail-point|http-agents|lifecycle|meter|process|resolver|tracing|tracing-sdk)\\.ts$`,
      },
      to: { pathNot: '^shared/src|^crypto$|node_modules/(zod|libphonenumber-js)/' },
    },
    {
      name: 'shared-express-entry',
      comment: 'The one entry of shared that may know Express, and the server that it runs in.',
      severity: 'error',
      from: { path: '^shared/src/(body|express|http-server)\\.ts$' },
      to: {
        pathNot:
          '^shared/src|^(node:)?(buffer|crypto|http|stream|util|zlib)$|node_modules/(zod|libphonenumber-js|express|@types/express)/',
      },
    },
    {
      name: 'shared-egress-entry',
      comment: 'The one entry of shared that resolves names: both processes connect to addresses that a customer names.',
      severity: 'error',
      from: { path: '^shared/src/(egress|resolver)\\.ts$' },
      to: { pathNot: '^shared/src/(egress|resolver|errors)\\.ts$|^(node:)?(dns|fs/promises|http|net)$' },
    },
    {
      name: 'shared-agents-entry',
      comment: 'The one entry of shared that creates the agents of HTTP clients.',
      severity: 'error',
      from: { path: '^shared/src/http-agents\\.ts$' },
      to: { pathNot: '^(node:)?https?$' },
    },
    {
      name: 'shared-metrics-entry',
      comment: 'The one entry of shared that may know the library of metrics.',
      severity: 'error',
      from: { path: '^shared/src/meter\\.ts$' },
      to: {
        pathNot:
          '^shared/src/(errors|express|metrics)\\.ts$|^(node:)?(crypto|perf_hooks)$|node_modules/(prom-client|express|@types/express)/',
      },
    },
    {
      name: 'shared-tracing-entry',
      comment: 'Traces are optional: one file knows their libraries, and it is loaded only when a collector is set.',
      severity: 'error',
      from: { path: '^(shared|backend|whatsapp-service)/src', pathNot: '^shared/src/tracing-sdk\\.ts$' },
      to: { path: 'node_modules/@opentelemetry/' },
    },
    {
      name: 'services-stay-apart',
      comment: 'Backend and worker meet in shared, and nowhere else.',
      severity: 'error',
      from: { path: '^(backend|whatsapp-service)/' },
      to: { path: '^(backend|whatsapp-service)/', pathNot: '^$1/' },
    },
    {
      name: 'no-simulator-in-production',
      comment: 'Production code does not import the simulator or the benchmarks.',
      severity: 'error',
      from: { path: '^(shared|backend|whatsapp-service)/src', pathNot: test },
      to: { path: '^(simulator|bench)/|node_modules/@chasqui/simulator/' },
    },
    {
      name: 'only-the-engine-knows-the-library',
      comment: 'whatsapp-web.js changes with WhatsApp. Only one folder imports it.',
      severity: 'error',
      from: { path: '^(shared|backend|whatsapp-service)/', pathNot: '^whatsapp-service/src/engine/wwebjs/' },
      to: { path: 'whatsapp-web\\.js' },
    },
    {
      name: 'lib-and-db-know-no-domain',
      comment: 'lib and db serve every domain and import none of them. db/entities.ts is the list of tables and names them all.',
      severity: 'error',
      from: { path: '^backend/src/(lib|db)/', pathNot: `${test}|^backend/src/db/entities\\.ts$` },
      to: {
        path: `^backend/src/(${domains}|jobs|backups|whatsapp|http|admin)/`,
        pathNot: '\\.entity\\.ts$',
      },
    },
    {
      name: 'domain-doors',
      comment: 'A domain reaches another only through its <nouns>.ts, contract.ts or *.entity.ts.',
      severity: 'error',
      from: { path: `^backend/src/(${domains})/`, pathNot: test },
      to: { path: `^backend/src/(${domains})/`, pathNot: `^backend/src/$1/|${doors}` },
    },
    {
      name: 'domains-know-nothing-above-them',
      comment: 'http, whatsapp, admin and jobs are above the domains. Imports of types count too.',
      severity: 'error',
      from: { path: `^backend/src/(${domains})/`, pathNot: test },
      to: { path: '^backend/src/(http|whatsapp|admin|jobs|backups)/', pathNot: '\\.entity\\.ts$' },
    },
    {
      name: 'order-of-the-domains',
      comment: 'accounts ← sessions ← messages ← campaigns: never the other way.',
      severity: 'error',
      from: { path: '^backend/src/accounts/', pathNot: test },
      to: { path: '^backend/src/(sessions|messages|campaigns)/', pathNot: '\\.entity\\.ts$' },
    },
    {
      name: 'order-of-the-domains-sessions',
      comment: 'accounts ← sessions ← messages ← campaigns: never the other way.',
      severity: 'error',
      from: { path: '^backend/src/sessions/', pathNot: test },
      to: { path: '^backend/src/(messages|campaigns)/', pathNot: '\\.entity\\.ts$' },
    },
    {
      name: 'panel-knows-only-types-of-the-server',
      comment:
        'Code of the panel runs in a browser: of the server it may know the shapes of what it receives, and nothing that runs.',
      severity: 'error',
      from: { path: '^backend/panel/' },
      to: { path: '^backend/src/|^shared/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'server-knows-no-panel',
      comment: 'The server delivers the panel as a bundle.',
      severity: 'error',
      from: { path: '^(backend|shared)/src/' },
      to: { path: '^backend/panel/' },
    },
    {
      name: 'only-events-knows-webhooks',
      comment:
        'The event log alone writes delivery rows, in the commit of the event. An erasure reaches into the filters of webhooks.',
      severity: 'error',
      from: { path: `^backend/src/(${domains})/`, pathNot: `${test}|^backend/src/(events|privacy|webhooks)/` },
      to: { path: '^backend/src/webhooks/', pathNot: '\\.entity\\.ts$' },
    },
    {
      name: 'nobody-imports-the-app',
      comment: 'app/ constructs and wires; main.ts starts it. All other files receive their dependencies as arguments.',
      severity: 'error',
      from: { path: '^(backend|whatsapp-service)/src/', pathNot: `${test}|/src/(main|app)\\.ts$|/src/app/` },
      to: { path: '^(backend|whatsapp-service)/src/(main\\.ts|app\\.ts|app/)' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.browser.json' },
    tsPreCompilationDeps: 'specify',
    doNotFollow: { path: 'node_modules|/dist/' },
    exclude: { path: '/dist/|^simulator/page/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['types', 'import', 'node', 'default'],
      mainFields: ['types', 'main'],
    },
  },
};
