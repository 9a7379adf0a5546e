// For nginx's njs: what nginx's own configuration cannot work out. ECMAScript 5.1 and what njs 0.7.9
// (Debian 12) has besides.

// The user whose bearer token came with the request ("sub" of RFC 7519). Nothing is verified here:
// the configuration asks only where the registry has.
function subject(r) {
    var token = /^bearer [\w-]+\.([\w-]+)\.[\w-]+$/i.exec(r.variables.http_authorization || '');
    try {
        var user = JSON.parse(Buffer.from(token[1], 'base64url').toString()).sub;
        return typeof user === 'string' ? user : '';
    } catch (problem) {
        return '';
    }
}

// stub_status in Prometheus' text format, named as nginx-prometheus-exporter names it.
function metrics(r) {
    r.subrequest('/.wharfinger/stub_status', function (reply) {
        var numbers = reply.responseText.match(/\d+/g);
        if (reply.status !== 200 || !numbers || numbers.length !== 7) {
            r.return(500, 'stub_status answers otherwise than it should\n');
            return;
        }
        var names = [
            'connections_active gauge', 'connections_accepted_total counter',
            'connections_handled_total counter', 'http_requests_total counter',
            'connections_reading gauge', 'connections_writing gauge', 'connections_waiting gauge'
        ];
        var lines = names.map(function (name, at) {
            var word = name.split(' ');
            return '# TYPE nginx_' + name + '\nnginx_' + word[0] + ' ' + numbers[at] + '\n';
        });
        r.return(200, lines.join(''));
    });
}

export default { subject, metrics };
