#include <cstddef>
#include "a.h"
#include CHOSEN
extern "C" int more(void) { return A + C + (int)sizeof(std::size_t); }
