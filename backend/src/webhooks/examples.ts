/** Bodies of the routes that create or change an endpoint. */
export const newExamples = {
  'Messages and acks': { url: 'https://example.com/hook', events: ['message.received', 'message.ack'] },
  'One chat, own header': {
    url: 'https://example.com/hook',
    events: ['message.*'],
    filter: { chats: ['5511999990001@c.us'], directions: ['inbound' as const] },
    headers: { 'X-Shop': 'lima' },
  },
};
export const newSessionExamples = {
  'A second number': { name: 'sales', settings: { queueIfOffline: true } },
  'With pairing codes for its number': { name: 'north', phoneNumber: '+5511988887777' },
  'With a webhook': { name: 'marketing', webhooks: [{ url: 'https://example.com/hook', events: ['message.*'] }] },
};
export const changeExamples = { 'Other events': { events: ['message.*'] }, 'Switched off': { active: false } };
export const tryExamples = { 'A received message': { event: 'message.received' }, 'Any event': {} };
export const previewExamples = {
  'A filter on a sample event': {
    filter: { directions: ['inbound' as const] },
    event: { type: 'message.received', data: { message: { direction: 'inbound', text: 'Hello' } } },
  },
};
