#include <cstddef>
#include "a.h"
extern "C" int more(void) { return A + (int)sizeof(std::size_t); }
