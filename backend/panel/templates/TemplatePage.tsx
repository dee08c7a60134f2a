import React from 'react';
import type { ActionProps } from 'adminjs';
import { useNavigate } from 'react-router-dom';
import type { TemplateView } from '../../src/admin/views/template.js';
import { post, root } from '../api.js';
import ActionButton from '../parts/ActionButton.js';
import Ago from '../parts/Ago.js';
import MissingRecord from '../frame/MissingRecord.js';
import NoticeLine from '../parts/NoticeLine.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import TemplateForm, { type TemplateFields } from './TemplateForm.js';

const back = { to: `${root}/resources/templates`, label: 'Templates' };

function fieldsOf({ name, type, content }: TemplateView): TemplateFields {
  const { message } = content;
  const isPlain = type === 'text' && typeof message === 'string' && Object.keys(content).length === 1;
  return { name, type, body: isPlain ? message : JSON.stringify(content, null, 2) };
}

/** One template: the form that changes it, and its preview. */
const TemplatePage: React.FC<ActionProps> = ({ record }) => {
  const navigate = useNavigate();
  const path = `/live/templates/${record?.id ?? ''}`;
  const { value: template, error, notice, notify } = useRecord<TemplateView>(path, 30_000);
  if (!template) return <MissingRecord title="Template" back={back} below={error} />;
  return (
    <Page testId="template">
      <PageHead
        title={template.name}
        back={back}
        below={
          <span>
            {template.account.name}, version {template.version}, changed <Ago at={template.updatedAt} />
          </span>
        }
      >
        <ActionButton
          label="Delete"
          path={`${path}/delete`}
          tone="danger"
          question={`Delete the template ${template.name}?`}
          consequence="Programs that send it by its id are refused."
          onError={(text) => notify({ tone: 'bad', text })}
          onDone={() => navigate(`${root}/resources/templates`)}
        />
      </PageHead>
      <NoticeLine notice={notice} />
      <p className="cq-soft">
        Programs send it with type template and templateId <code>{template.id}</code>
      </p>
      <TemplateForm
        key={template.updatedAt}
        accountId={template.account.id}
        from={fieldsOf(template)}
        label="Save template"
        save={async (input) => {
          await post(path, input);
          notify({ tone: 'good', text: 'Changed. The next send uses it; messages that were accepted before stay as they are.' });
        }}
      />
    </Page>
  );
};
export default TemplatePage;
