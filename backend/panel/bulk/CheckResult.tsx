import React, { useState } from 'react';
import type { BulkCheck } from '@chasqui/shared';
import Panel from '../frame/Panel.js';
import Facts from '../parts/Facts.js';
import { count, exactText } from '../words.js';

/** How many issues are shown. The number of the others is shown instead. */
const maxShown = 20;

interface CheckResultProps {
  checked: BulkCheck;
  /** Starts the job. Returns why it was refused, or null. */
  onStart: () => Promise<string | null>;
}

/** The result of a check: how many rows would get a message, which would not, and the button that starts the job. */
const CheckResult: React.FC<CheckResultProps> = ({ checked, onStart }) => {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const start = (): void => {
    setBusy(true);
    void onStart()
      .then(setProblem)
      .finally(() => setBusy(false));
  };
  return (
    <Panel title="Result of the check">
      <div className="cq-rows">
        <Facts
          of={[
            ['Rows', count(checked.total)],
            ['Get a message', count(checked.accepted)],
            ...Object.entries(checked.skipped).map(([code, number]): [string, string] => [`Skipped, ${code}`, count(number)]),
            ['Expected end', checked.estimatedEndAt && exactText(Date.parse(checked.estimatedEndAt))],
            ['The first message', checked.preview],
          ]}
        />
        {checked.issues.length > 0 && (
          <ul className="cq-list cq-recipients">
            {checked.issues.slice(0, maxShown).map((issue) => (
              <li key={issue.row}>
                <span>
                  Row {issue.row}: {issue.recipient}
                </span>
                <small className="cq-why">{issue.message}</small>
              </li>
            ))}
          </ul>
        )}
        {checked.issues.length > maxShown && <p className="cq-soft">and {count(checked.issues.length - maxShown)} more rows</p>}
        {problem && (
          <p className="cq-note cq-bad" role="alert">
            {problem}
          </p>
        )}
        {checked.isAcceptable ? (
          <button type="button" className="cq-button cq-main" disabled={isBusy} onClick={start}>
            Send to {count(checked.accepted)} recipients
          </button>
        ) : (
          <p className="cq-note cq-bad" role="alert">
            The job cannot be accepted like this. Correct the rows or the message, and check again.
          </p>
        )}
      </div>
    </Panel>
  );
};
export default CheckResult;
