import React from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import { Link } from 'react-router-dom';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import Ago from '../parts/Ago.js';
import { root, viewerOf } from '../api.js';
import Badge from '../parts/Badge.js';
import DeliveryList from './DeliveryList.js';
import Facts from '../parts/Facts.js';
import MissingRecord from '../frame/MissingRecord.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import Panel from '../frame/Panel.js';
import NoticeLine from '../parts/NoticeLine.js';
import DeliveryBar from './DeliveryBar.js';
import WebhookActions from './WebhookActions.js';
import WebhookNotice from './WebhookNotice.js';
import WebhookSettings from './WebhookSettings.js';
import { count, webhookWord } from '../words.js';

const back = { to: `${root}/resources/webhooks`, label: 'Webhooks' };
/** One endpoint: its state, its newest deliveries, and its actions. */
const WebhookPage: React.FC<ActionProps> = ({ record }) => {
  const { value: webhook, error, notice, notify } = useRecord<WebhookView>(`/live/webhooks/${record?.id ?? ''}`, 3_000);
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  if (!webhook) return <MissingRecord title="Webhook" back={back} below={error} />;
  const [word, tone] = webhookWord(webhook.state);
  const { counts } = webhook;
  return (
    <Page>
      <PageHead
        title={webhook.title}
        back={back}
        below={
          <>
            <Badge tone={tone}>{word}</Badge>
            <code>{webhook.url}</code>
          </>
        }
      >
        <WebhookActions webhook={webhook} onNotice={notify} />
      </PageHead>
      <NoticeLine notice={notice} />
      <WebhookNotice webhook={webhook} />
      <div className="cq-columns">
        <Panel title="Deliveries">
          <DeliveryList webhookId={webhook.id} onNotice={notify} />
        </Panel>
        <div>
          <Panel title="Last 24 hours">
            <DeliveryBar day={webhook.day} />
          </Panel>
          {me?.role === 'admin' && (
            <Panel title="Settings">
              <WebhookSettings key={webhook.id} webhook={webhook} onNotice={notify} />
            </Panel>
          )}
          <Panel title="Details">
            <Facts
              of={[
                [
                  'Account',
                  <Link to={`${root}/resources/accounts/records/${webhook.account.id}/show`}>
                    {webhook.account.name ?? webhook.account.id}
                  </Link>,
                ],
                ['Scope', webhook.session ? `the session ${webhook.session.name ?? webhook.session.id}` : 'all sessions'],
                ['Events', webhook.events.join(', ')],
                ['Filter', webhook.filter && filterText(webhook.filter)],
                ['Headers', webhook.headerNames.join(', ')],
                ['Transformation', webhook.transform && transformText(webhook.transform)],
                ['Retries', webhook.retry && retryText(webhook.retry)],
                ['Delivered', count(counts.delivered)],
                ['Waiting', count(counts.pending + counts.held)],
                ['Oldest waiting', webhook.oldestWaitingAt && <Ago at={webhook.oldestWaitingAt} />],
                ['Failed', count(counts.failed)],
                ['Failures in a row', webhook.failures || null],
                ['Failing since', webhook.failingSince && <Ago at={webhook.failingSince} />],
                ['Next probe', webhook.openUntil && <Ago at={webhook.openUntil} />],
                ['Last delivered', <Ago at={webhook.lastDeliveredAt} none="never" />],
                ['Created', <Ago at={webhook.createdAt} />],
                ['Id', <code>{webhook.id}</code>],
              ]}
            />
          </Panel>
        </div>
      </div>
    </Page>
  );
};
export default WebhookPage;

/** A filter in words. */
const filterText = ({ chats, directions, types }: NonNullable<WebhookView['filter']>): string =>
  [
    chats && (chats.length === 1 ? 'one chat' : `${count(chats.length)} chats`),
    directions && directions.map((one) => (one === 'inbound' ? 'received' : 'sent')).join(' and '),
    types?.join(', '),
  ]
    .filter(Boolean)
    .join('; ');

/** A transformation in words. */
const transformText = ({ template, fields, rename }: NonNullable<WebhookView['transform']>): string =>
  [
    template !== undefined && 'a template',
    fields && `the values ${Object.keys(fields).join(', ')}`,
    rename && Object.entries(rename).map(([type, name]) => `${type} as ${name}`),
  ]
    .filter(Boolean)
    .join('; ');

/** Own retries in words. */
const retryText = ({ delaysMs, maxRetries, timeoutMs }: NonNullable<WebhookView['retry']>): string =>
  [
    delaysMs && (delaysMs.length === 0 ? 'none' : `after ${delaysMs.map((delay) => delay / 1000).join(', ')} seconds`),
    maxRetries !== undefined && `at most ${maxRetries}`,
    timeoutMs !== undefined && `an attempt may take ${timeoutMs / 1000} seconds`,
  ]
    .filter(Boolean)
    .join('; ');
