import React, { useState } from 'react';
import type { ErrorsView } from '../../src/admin/views/errors.js';
import { usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Empty from '../parts/Empty.js';
import LiveState from '../parts/LiveState.js';
import ErrorList from './ErrorList.js';

const ranges: [hours: number, label: string][] = [
  [1, 'Hour'],
  [24, 'Day'],
  [168, 'Week'],
  [720, '30 days'],
];

/** The error replies of the API by code: how many, when, and what to do about them. */
const ErrorsPage: React.FC = () => {
  const [hours, setHours] = useState(24);
  const polled = usePoll<ErrorsView>(`/live/errors?hours=${hours}`, 5000);
  const { value } = polled;
  return (
    <Page>
      <PageHead title="Errors" below={<LiveState of={polled} />}>
        <div className="cq-switch" role="group" aria-label="Time">
          {ranges.map(([length, label]) => (
            <button key={length} type="button" aria-pressed={hours === length} onClick={() => setHours(length)}>
              {label}
            </button>
          ))}
        </div>
      </PageHead>
      <section className="cq-panel cq-roomy">
        {!value && <p className="cq-soft">Loading …</p>}
        {value && value.errors.length > 0 && <ErrorList of={value.errors} />}
        {value && value.errors.length === 0 && (
          <Empty title="No error replies">
            <p>Each request of the API that is refused or fails is counted here by its code.</p>
          </Empty>
        )}
      </section>
    </Page>
  );
};
export default ErrorsPage;
