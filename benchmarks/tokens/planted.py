"""What is planted in a code base before a task: faults, logs, data, a history."""

BUG = (
    "sed -i 's/status_code // 100 == 2/status_code // 100 == 3/' httpx/_models.py; "
    "sed -i 's/return 200 <= value <= 299/return 200 <= value <= 298/' httpx/_status_codes.py"
)

PROBE = (
    "python3 - <<'EOF'\nimport re\nsrc = open('httpx/_status_codes.py').read()\n"
    "assert '200 <= value <= 299' in src, 'is_success(299) is False, should be True'\nEOF"
)

TESTS = """
import unittest
import h11
from h11 import _headers, _readers


class Tests(unittest.TestCase):
"""

LOG = """python3 - <<'EOF'
import random
r = random.Random(7)
parts = ['auth', 'billing', 'search', 'gateway', 'worker']
with open('service.log', 'w') as f:
    for n in range(60000):
        p = r.choice(parts)
        level = r.choices(['INFO', 'DEBUG', 'WARN', 'ERROR'], [70, 20, 8, 2])[0]
        clock = f'{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}.{r.randrange(1000):03}'
        asked = f'request={r.getrandbits(48):012x} took={r.randrange(1, 900)}ms'
        f.write(f'2026-03-04T{clock}Z {level} {p} {asked}\\n')
        if n == 41234:
            f.write('Traceback (most recent call last):\\n'
                    '  File "worker/pool.py", line 88, in take\\n'
                    '    raise PoolExhausted(self.size)\\nworker.errors.PoolExhausted: 16\\n')
EOF
git add -A; git commit -qm log"""

HISTORY = """for n in 1 2 3 4 5 6 7 8 9; do
f=$(grep -lE '^(class|def) ' starlette/*.py | sed -n "$((n * 2))p"); python3 - "$f" $n <<'EOF'
import re, sys
path, n = sys.argv[1], sys.argv[2]
lines = open(path).read().split('\\n')
at = [i for i, l in enumerate(lines) if l.startswith(('def ', 'class '))]
for i in reversed(at[: 4]):
    lines.insert(i, f'# reviewed in round {n}')
open(path, 'w').write('\\n'.join(lines))
EOF
git commit -qam "Round $n: $f"; done"""

SETTINGS = """python3 - <<'EOF'
import json
d = {'services': {f'service-{n}': {'image': f'registry.example/app{n}:1.{n}', 'replicas': 1,
     'env': {'PORT': str(8000 + n), 'LOG': 'info', 'REGION': 'eu-central-1'},
     'limits': {'cpu': '500m', 'memory': f'{64 * (n % 5 + 1)}Mi'}} for n in range(30)}}
json.dump(d, open('settings.json', 'w'), indent=1, sort_keys=True)
EOF
git add -A; git commit -qm settings"""

SALES = """python3 - <<'EOF'
import random
r = random.Random(11)
with open('sales.csv', 'w') as f:
    f.write('day,region,product,price,count\\n')
    for n in range(5000):
        f.write(f"{r.randrange(365)},{r.choice(['north', 'south', 'east', 'west'])},"
                f"{r.choice(['chair', 'table', 'lamp', 'shelf'])}-{r.randrange(90)},"
                f"{r.randrange(100, 90000) / 100},{r.randrange(1, 12)}\\n")
EOF
git add -A; git commit -qm sales"""
