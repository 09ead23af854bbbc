"""Networks that learn: the teacher, the student, and what both are made of."""
