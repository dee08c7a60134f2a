import React from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import Empty from '../parts/Empty.js';
import Page from './Page.js';
import PageHead from './PageHead.js';

interface NotFoundProps {
  title: string;
  /** What is the case, and the next step. */
  text: string;
  /** The list to go back to. */
  back?: { to: string; label: string } | undefined;
}

/** A page for what does not exist, or what this person may not do: what is the case, and where to go. */
const NotFound: React.FC<NotFoundProps> = ({ title, text, back }) => (
  <Page testId="not-found">
    <PageHead title={title} {...(back ? { back } : {})} />
    <section className="cq-panel cq-roomy">
      <Empty title={text}>
        <Link className="cq-button cq-main" to={back?.to ?? root}>
          {back?.label ?? 'Overview'}
        </Link>
      </Empty>
    </section>
  </Page>
);
export default NotFound;
