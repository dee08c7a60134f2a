import React, { useState } from 'react';
import type { TestOutcome, WebhookPreview } from '../../src/admin/verbs.js';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import { post, usePreview } from '../api.js';
import type { Form } from '../hooks.js';
import Ago from '../parts/Ago.js';
import NoticeLine, { type Notice } from '../parts/NoticeLine.js';
import { outcomeNotice } from './outcome.js';
import { changedForm, filterOf, headersOf, transformOf, type WebhookValues } from './values.js';

interface WebhookTrialProps {
  form: Pick<Form<WebhookValues>, 'fields' | 'run' | 'isBusy'>;
  accountId: string;
  sessionId: string | null;
  /** The values that the form began with. */
  saved: WebhookValues;
  /** The endpoint that is being changed. Null: a new one. */
  webhook: Pick<WebhookView, 'id' | 'includeContent'> | null;
}

/** What the endpoint would have received of past events, and a test of its receiver, both before it is saved. */
const WebhookTrial: React.FC<WebhookTrialProps> = ({ form, saved, accountId, sessionId, webhook }) => {
  const { fields, run, isBusy } = form;
  const [notice, setNotice] = useState<Notice | null>(null);
  const isComplete = accountId !== '' && fields.events.length > 0;
  const preview = usePreview<WebhookPreview>(
    '/live/webhook-preview',
    isComplete
      ? draftOf(fields, { accountId, sessionId: sessionId || null, includeContent: webhook?.includeContent ?? true })
      : null,
  );
  const test = async (values: WebhookValues): Promise<void> => {
    setNotice(null);
    const what = { url: values.url.trim(), ...headersOf(values), ...changedForm(values, saved) };
    const body = { accountId, webhookId: webhook?.id ?? null, ...what };
    setNotice(outcomeNotice(await post<TestOutcome>('/live/webhook-test', body)));
  };
  return (
    <div className="cq-stack" data-testid="webhook-trial">
      <div aria-live="polite">{isComplete && <Matches of={preview.value} problem={preview.problem} />}</div>
      <button type="button" className="cq-button" disabled={isBusy} onClick={() => run(test)}>
        Test before saving
      </button>
      <NoticeLine notice={notice} />
      {notice && webhook === null && (
        <p className="cq-soft">
          The test was signed with a secret of its own: the one of the webhook is shown when it is created.
        </p>
      )}
    </div>
  );
};
export default WebhookTrial;

/** What is previewed, or why it cannot be. */
function draftOf(fields: WebhookValues, of: { accountId: string; sessionId: string | null; includeContent: boolean }): object {
  try {
    return { ...of, events: fields.events, filter: filterOf(fields), transform: transformOf(fields) };
  } catch (error) {
    return error as Error;
  }
}

const Matches: React.FC<{ of: WebhookPreview | null; problem: string | null }> = ({ of, problem }) => {
  if (problem) return <p className="cq-note cq-bad">{problem}</p>;
  if (!of) return null;
  if (of.examined === 0) return <p className="cq-soft">No event of these types has happened yet.</p>;
  return (
    <>
      <p>{summaryOf(of)}</p>
      <ul className="cq-list cq-matches">
        {of.events.map(({ cursor, words, at, matches }) => (
          <li key={cursor} data-matches={matches}>
            <span>
              <b>{matches ? 'Delivered' : 'Left out'}</b> {words}
            </span>
            <Ago at={at} />
          </li>
        ))}
      </ul>
      {of.sample && <Sample of={of.sample} />}
    </>
  );
};

const Sample: React.FC<{ of: NonNullable<WebhookPreview['sample']> }> = ({ of: { event, type, body } }) => (
  <div data-testid="transformed">
    <p>The newest delivered one{event === type ? '' : `, as ${event}`}, with this body:</p>
    <pre className="cq-json" tabIndex={0} aria-label="Transformed body">
      {readableBody(body)}
    </pre>
  </div>
);

/** A body with a line for each value. One that was cut is shown as it is. */
function readableBody(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return `${body} …`;
  }
}

const summaryOf = ({ examined, matching }: WebhookPreview): string =>
  examined === 1
    ? `The last event of these types would ${matching === 1 ? '' : 'not '}have been delivered.`
    : `Of the last ${examined} events of these types, ${matching} would have been delivered.`;
