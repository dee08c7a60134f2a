import React from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import Empty from '../parts/Empty.js';

/** The first step of a new installation. */
const FirstPhone: React.FC = () => (
  <section className="cq-panel cq-first">
    <Empty title="Link your first phone">
      <p>Create a session, scan its code with WhatsApp on the phone, and send a message. It takes a minute.</p>
      <Link className="cq-button cq-main" to={`${root}/resources/sessions/actions/new`}>
        New session
      </Link>
    </Empty>
  </section>
);
export default FirstPhone;
