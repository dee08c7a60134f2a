/** The pages of the panel in groups, as the navigation shows them: the path below the root, the name and the icon of each. */
export const pageGroups: readonly { name: string; links: readonly (readonly [path: string, label: string, icon: string])[] }[] = [
  {
    name: 'WhatsApp',
    links: [
      ['', 'Overview', 'Home'],
      ['/resources/sessions', 'Sessions', 'Smartphone'],
      ['/resources/messages', 'Messages', 'MessageSquare'],
      ['/resources/bulk', 'Bulk jobs', 'Layers'],
      ['/resources/templates', 'Templates', 'Edit3'],
      ['/resources/optouts', 'Opt-outs', 'UserX'],
      ['/pages/schedules', 'Schedules', 'Calendar'],
      ['/resources/webhooks', 'Webhooks', 'Send'],
      ['/pages/deliveries', 'Deliveries', 'Repeat'],
      ['/pages/usage', 'Usage', 'BarChart2'],
    ],
  },
  {
    name: 'Access',
    links: [
      ['/resources/accounts', 'Accounts', 'Users'],
      ['/resources/plans', 'Plans', 'Sliders'],
      ['/resources/keys', 'API keys', 'Key'],
    ],
  },
  {
    name: 'System',
    links: [
      ['/pages/events', 'Events', 'Activity'],
      ['/pages/workers', 'Workers', 'Cpu'],
      ['/pages/capabilities', 'Capabilities', 'CheckSquare'],
      ['/pages/jobs', 'Jobs', 'Clock'],
      ['/pages/errors', 'Errors', 'XOctagon'],
      ['/pages/backups', 'Backups', 'Archive'],
      ['/pages/privacy', 'Privacy requests', 'Shield'],
      ['/resources/audit', 'Audit log', 'FileText'],
      ['/resources/failures', 'Failures', 'AlertTriangle'],
    ],
  },
];

/** The forms that create something. A person may open them who may create it; the server decides. */
export const newPages: readonly (readonly [path: string, label: string, forAdmins: boolean])[] = [
  ['/resources/sessions/actions/new', 'New session', false],
  ['/resources/bulk/actions/new', 'New bulk job', false],
  ['/resources/templates/actions/new', 'New template', false],
  ['/resources/optouts/actions/new', 'Opt people out', false],
  ['/resources/webhooks/actions/new', 'New webhook', true],
  ['/resources/accounts/actions/new', 'New account', true],
  ['/resources/plans/actions/new', 'New plan', true],
  ['/resources/keys/actions/new', 'New key', true],
];
