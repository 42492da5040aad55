"""All mutants."""

from mutants.in_delivery import IN_DELIVERY
from mutants.in_export import IN_EXPORT
from mutants.in_journal import IN_JOURNAL
from mutants.in_logto import IN_LOGTO
from mutants.on_the_way import ON_THE_WAY

MUTANTS = (*IN_JOURNAL, *IN_DELIVERY, *ON_THE_WAY, *IN_EXPORT, *IN_LOGTO)
