import React, { useEffect, useRef } from 'react';
import { useFilterDrawer, useRecords, useTranslation, type ActionProps } from 'adminjs';
import { Link, useLocation, useNavigate } from 'react-router-dom';
import { root } from './api.js';
import ListFilter from './ListFilter.js';
import ListRow from './ListRow.js';
import NoRows from './NoRows.js';
import PageHead from './PageHead.js';
import Pager from './Pager.js';

/** Lists that are looked at while things happen renew themselves, unless somebody searches in them. Milliseconds. */
const renewMs = 10_000;
const lively = ['sessions', 'messages', 'audit'];

/** A list of any table: search, choices, rows that are links, pages. On a phone each row is a card. */
const DefaultListAction: React.FC<ActionProps> = ({ resource }) => {
  const { records, loading, page, perPage, total, sortBy, direction, fetchData } = useRecords(resource.id);
  const { toggleFilter } = useFilterDrawer();
  const { translateAction, translateLabel, translateProperty } = useTranslation();
  const { pathname, search } = useLocation();
  const navigate = useNavigate();
  const fetchNow = useRef(fetchData);
  fetchNow.current = fetchData;
  const renews = lively.includes(resource.id) && !search.includes('filters.text') && !search.includes('filters.chatName');
  useEffect(() => {
    if (!renews) return undefined;
    const timer = window.setInterval(() => {
      if (!document.hidden) void fetchNow.current();
    }, renewMs);
    return () => window.clearInterval(timer);
  }, [renews, resource.id]);

  const sortTo = (name: string): string => {
    const params = new URLSearchParams(search);
    params.set('sortBy', name);
    params.set('direction', sortBy === name && direction === 'asc' ? 'desc' : 'asc');
    return `${pathname}?${params.toString()}`;
  };
  const add = resource.resourceActions.find((action) => action.name === 'new');
  const filtered = [...new URLSearchParams(search).keys()].some((key) => key.startsWith('filters.'));
  return (
    <div className="cq-page">
      <PageHead title={translateLabel(resource.name, resource.id)}>
        {add && (
          <Link className="cq-button cq-main" to={`${root}/resources/${resource.id}/actions/new`}>
            {translateAction(add.label, resource.id)}
          </Link>
        )}
        <button type="button" className="cq-button" onClick={toggleFilter}>
          More filters
        </button>
      </PageHead>
      <ListFilter key={resource.id} resource={resource} search={search} onChange={(next) => navigate(`${pathname}?${next}`)} />
      {records.length === 0 ? (
        loading ? null : (
          <NoRows table={resource.id} filtered={filtered} />
        )
      ) : (
        <div className="cq-tablebox">
          <table className="cq-table">
            <thead>
              <tr>
                {resource.listProperties.map((property) => (
                  <th
                    key={property.name}
                    scope="col"
                    aria-sort={sortBy === property.name ? (direction === 'asc' ? 'ascending' : 'descending') : undefined}
                  >
                    {property.isSortable ? (
                      <Link to={sortTo(property.name)}>
                        {translateProperty(property.label, resource.id)}{' '}
                        {sortBy === property.name ? (direction === 'asc' ? '↑' : '↓') : ''}
                      </Link>
                    ) : (
                      translateProperty(property.label, resource.id)
                    )}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {records.map((record) => (
                <ListRow key={record.id} resource={resource} record={record} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Pager page={page} perPage={perPage} total={total} pathname={pathname} search={search} />
    </div>
  );
};
export default DefaultListAction;
