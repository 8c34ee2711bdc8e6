#include "../two/b.h"
#include "inner.h"
int low(void) { return B + INNER; }
