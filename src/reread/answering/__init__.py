"""The test-time compute stack: arms, views, voting, inter-document consistency. Open answer.py first."""
